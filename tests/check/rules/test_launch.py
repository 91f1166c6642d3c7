"""ZT8: launch and environment."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]
Caret = Callable[[Diagnostic], str]

TWO_NODES = "{gpu: H100-SXM, num_nodes: 2, gpus_per_node: 1}"


@pytest.mark.parametrize("launcher", ["local", "torchrun"])
def test_zt810_a_launcher_that_stays_on_one_machine(one: One, findings: Findings, caret: Caret, launcher: str) -> None:
    finding = one(launch=f"{{type: {launcher}}}", hardware=TWO_NODES)

    assert (finding.code, finding.name, finding.severity) == ("ZT810", "one-machine-launcher", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("launch.type", launcher)
    assert finding.message == f"`{launcher}` starts ranks on one machine, not on 2"
    assert findings(launch=f"{{type: {launcher}}}") == []


def test_zt810_is_found_where_no_launcher_is_written(one: One) -> None:
    assert one(hardware=TWO_NODES).code == "ZT810"


def test_zt810_without_a_launcher_points_at_the_number_of_machines(one: One, caret: Caret) -> None:
    assert "2" in caret(one(hardware=TWO_NODES))


def test_zt811_machines_that_nobody_names(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(launch="{type: deepspeed}", hardware=TWO_NODES)

    assert (finding.code, finding.name, finding.severity) == ("ZT811", "no-hostfile", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("launch", "{type: deepspeed}")
    assert finding.message == "no hostfile names the 2 machines"
    assert findings(launch="{type: deepspeed, hostfile: hosts}", hardware=TWO_NODES) == []
    assert findings(launch="{type: deepspeed}") == []


def test_zt812_hosts_both_included_and_excluded(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(launch="{type: deepspeed, include: a, exclude: b}")

    assert (finding.code, finding.name, finding.severity) == ("ZT812", "include-and-exclude", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("launch.exclude", "b")
    assert findings(launch="{type: deepspeed, include: a}") == []
    assert findings(launch="{type: deepspeed, exclude: b}") == []


def test_zt813_a_deepspeed_nothing_is_known_of(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(software="{deepspeed: 0.9.2}")

    assert (finding.code, finding.name, finding.severity) == ("ZT813", "unknown-deepspeed-version", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("software.deepspeed", "0.9.2")
    assert "`0.19.8`" in (finding.help or "")
    assert findings(software="{deepspeed: 0.19.8}") == []
    assert findings(software="{deepspeed: null}") == []


@pytest.mark.parametrize("name", ["RANK", "MASTER_PORT", "DS_ACCELERATOR"])
def test_zt814_a_variable_that_is_not_the_spec_s_to_set(one: One, findings: Findings, name: str) -> None:
    finding = one(launch=f"{{type: local, environment: {{{name}: '1'}}}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT814", "reserved-variable", Severity.ERROR)
    assert finding.place.key == f"launch.environment.{name}"
    assert findings(launch="{type: local, environment: {NCCL_DEBUG: INFO, OMP_NUM_THREADS: '2'}}") == []


@pytest.mark.parametrize("name", ["HF_TOKEN", "WANDB_API_KEY", "S3_Secret"])
def test_zt815_a_secret_that_would_be_written_down(one: One, findings: Findings, name: str) -> None:
    finding = one(launch=f"{{type: local, environment: {{{name}: abc}}}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT815", "written-secret", Severity.ERROR)
    assert finding.place.key == f"launch.environment.{name}"


def test_zt810_torchrun_on_several_machines_needs_to_know_where_they_meet(one: One, findings: Findings) -> None:
    assert "endpoint" in (one(launch="{type: torchrun}", hardware=TWO_NODES).help or "")
    assert findings(launch="{type: torchrun, endpoint: 'worker-0:29500'}", hardware=TWO_NODES) == []


def test_zt842_ranks_that_start_again_must_not_meet_where_dead_ones_did(one: One, findings: Findings) -> None:
    finding = one(launch="{type: torchrun, rendezvous: static, max_restarts: 3}")

    assert (finding.code, finding.name, finding.severity) == ("ZT842", "restarts-without-c10d", Severity.ERROR)
    assert finding.place.key == "launch.rendezvous"
    assert findings(launch="{type: torchrun, max_restarts: 3}") == []
    assert findings(launch="{type: torchrun, rendezvous: static}") == []


PODS = "type: kubernetes, image: zerotrain"
CLAIM = "{type: claim, name: training, path: /workspace}"


@pytest.mark.parametrize(
    ("volumes", "message"),
    [
        ("[]", "`/workspace`, where the runs are, is on none of the volumes"),
        ("[{type: claim, name: a, path: /work}]", "`/workspace`, where the runs are, is on none of the volumes"),
        ("[{type: scratch, path: /workspace}]", "`/workspace`, where the runs are, is on a `scratch` volume"),
        (
            "[{type: claim, name: a, path: /workspace, read_only: true}]",
            "`/workspace`, where the runs are, is on a volume that nothing is written to",
        ),
    ],
)
def test_zt843_runs_that_are_gone_with_their_pods(one: One, volumes: str, message: str) -> None:
    finding = one(launch=f"{{{PODS}, volumes: {volumes}}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT843", "runs-gone-with-pods", Severity.ERROR)
    assert (finding.place.key, finding.message) == ("launch.volumes", message)
    assert "path: /workspace" in (finding.help or "")


@pytest.mark.parametrize(
    "rest",
    [
        f"volumes: [{CLAIM}]",
        "volumes: [{type: host, source: /lustre, path: /shared}], directory: /shared/work",
        "volumes: [{type: scratch, path: /a}, {type: claim, name: a, path: /a/b}], directory: /a/b",
    ],
)
def test_zt843_runs_on_a_volume_that_stays(findings: Findings, rest: str) -> None:
    assert findings(launch=f"{{{PODS}, {rest}}}") == []


@pytest.mark.parametrize(
    ("rest", "key", "message"),
    [
        (f"volumes: [{CLAIM}, {CLAIM}]", "launch.volumes[1].path", "`/workspace` is taken: volume 1 is there"),
        (
            f"volumes: [{CLAIM}, {{type: scratch, path: /dev/shm}}]",
            "launch.volumes[1].path",
            "`/dev/shm` is taken: shared memory is there",
        ),
        (
            f"volumes: [{CLAIM}], environment: {{A: b}}, secrets: {{A: hub/token}}",
            "launch.secrets.A",
            "`A` is in `launch.environment` too",
        ),
    ],
)
def test_zt845_what_is_given_twice(one: One, rest: str, key: str, message: str) -> None:
    finding = one(launch=f"{{{PODS}, {rest}}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT845", "given-twice", Severity.ERROR)
    assert (finding.place.key, finding.message) == (key, message)


def test_zt814_a_reserved_variable_in_a_secret(one: One) -> None:
    finding = one(launch=f"{{{PODS}, volumes: [{CLAIM}], secrets: {{RANK: hub/token}}}}")

    assert (finding.code, finding.place.key) == ("ZT814", "launch.secrets.RANK")


def test_zt815_a_written_secret_belongs_in_the_cluster_s(one: One) -> None:
    finding = one(launch=f"{{{PODS}, volumes: [{CLAIM}], environment: {{HF_TOKEN: hf_abc}}}}")

    assert finding.code == "ZT815"
    assert finding.help == "name the secret of the cluster that holds it: `launch.secrets.HF_TOKEN: SECRET/KEY`"


@pytest.mark.parametrize(
    ("rest", "key", "words"),
    [
        ("secrets: {HF_TOKEN: hf_abc}", "launch.secrets.HF_TOKEN", "write `SECRET/KEY`"),
        ("memory: 64 GB", "launch.memory", "is no quantity of Kubernetes"),
        ("directory: workspace", "launch.directory", "write a path from the root"),
        ("directory: /workspace/../etc", "launch.directory", "write a path from the root"),
    ],
)
def test_what_kubernetes_would_refuse_is_refused_first(findings: Findings, rest: str, key: str, words: str) -> None:
    (finding,) = findings(launch=f"{{{PODS}, volumes: [{CLAIM}], {rest}}}")

    assert finding.place.key == key
    assert words in finding.message + (finding.help or "")
