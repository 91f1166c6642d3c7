"""Every rule looks at every spec, however badly it was read, and all findings come in the order of the file."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from zerotrain.check.runner import check_file, check_reading, placed, selected
from zerotrain.diagnostic import Diagnostic, Place, error
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.spec.load import read_spec
from zerotrain.spec.tree import parse

Findings = Callable[..., list[Diagnostic]]
Caret = Callable[[Diagnostic], str]


def codes(found: list[Diagnostic]) -> list[str]:
    return [finding.code for finding in found]


def test_a_valid_spec_has_no_findings(findings: Findings) -> None:
    assert findings() == []


def test_findings_of_the_reader_and_of_rules_come_together_in_the_order_of_the_file(findings: Findings) -> None:
    found = findings(
        seed="-1",
        optimizer="{type: adamw, lr: 3.0}",
        batch="{global_batch_size: 3, micro_batch_size: 2}",
        zero="{stage: 1, offload_param: {device: cpu}}",
        deepspeed="{hello: 1}",
    )

    assert sorted(codes(found)) == ["ZT007", "ZT101", "ZT105", "ZT301", "ZT909"]
    assert [f.place.line for f in found] == sorted(f.place.line for f in found)


def test_the_same_spec_has_the_same_findings(findings: Findings) -> None:
    sections = {"seed": "x", "optimizer": "{type: adamw, lr: 3}", "zero": "{stage: 1, offload_param: {device: cpu}}"}

    assert findings(**sections) == findings(**sections)


@pytest.mark.parametrize("section", ["batch", "optimizer", "data", "model", "hardware", "zero", "precision", "launch"])
def test_a_section_that_cannot_be_read_does_not_stop_rules_about_others(findings: Findings, section: str) -> None:
    sections = {
        "optimizer": "{type: adamw, lr: 3.0}",
        "activation_checkpointing": "{cpu_checkpointing: true}",
        section: "5",
    }
    found = codes(findings(**sections))

    assert found.count("ZT007") == 1
    assert ("ZT105" in found) == (section != "optimizer")
    assert "ZT308" in found


@pytest.mark.parametrize("value", ["5", "[1]"])
def test_a_deepspeed_block_that_cannot_be_read_is_one_finding(findings: Findings, value: str) -> None:
    assert codes(findings(deepspeed=value)) == ["ZT007"]


@pytest.mark.parametrize("section", ["export", "evaluation", "checkpoint", "schedule", "precision", "zero"])
def test_a_section_that_cannot_be_read_does_not_hide_a_batch_that_does_not_divide(
    findings: Findings, section: str
) -> None:
    found = codes(findings(**{section: "5", "batch": "{global_batch_size: 3, micro_batch_size: 2}"}))

    assert "ZT101" in found


def test_data_that_cannot_be_read_does_not_hide_an_impossible_model(findings: Findings) -> None:
    found = codes(findings(data="5", model="{architecture: llama, config: {hidden_size: 0}}"))

    assert "ZT024" in found


def test_a_batch_that_does_not_divide_does_not_hide_an_overwritten_key(findings: Findings) -> None:
    found = codes(findings(batch="{global_batch_size: 3, micro_batch_size: 2}", deepspeed="{gradient_clipping: 1}"))

    assert found == ["ZT101", "ZT310"]


def test_a_batch_that_does_not_divide_does_not_hide_an_endless_warmup(findings: Findings) -> None:
    found = codes(
        findings(batch="{global_batch_size: 3, micro_batch_size: 2}", schedule="{type: cosine, warmup: 101 steps}")
    )

    assert found == ["ZT101", "ZT103"]


def test_nothing_is_told_twice(findings: Findings) -> None:
    found = findings(batch="{global_batch_size: 3, micro_batch_size: 2}", parallel="{tp: 3}", model="{}")

    assert len(found) == len({(f.code, f.place.key, f.message) for f in found})


def test_a_file_that_cannot_be_read_is_one_finding(tmp_path: Path, around: Surroundings) -> None:
    (finding,) = check_file(tmp_path / "gone.yaml", around)

    assert (finding.code, finding.place.file) == ("ZT001", str(tmp_path / "gone.yaml"))


def test_a_world_size_is_checked_instead_of_the_hardware(findings: Findings) -> None:
    assert codes(findings(world_size=3)) == ["ZT101"]
    assert findings(world_size=1) == []


def test_a_finding_of_a_rule_stands_in_the_file_or_on_the_command_line(findings: Findings, caret: Caret) -> None:
    (in_file,) = findings(optimizer="{type: adamw, lr: 3.0}")
    (overridden,) = findings(overrides=["optimizer.lr=3.0"])

    assert (Path(in_file.place.file or "").name, caret(in_file)) == ("run.yaml", "3.0")
    assert (overridden.place.file, caret(overridden)) == ("command line", "3.0")


def test_a_finding_of_a_rule_stands_in_the_file_that_is_extended(
    tmp_path: Path, around: Surroundings, write: Callable[..., Path], caret: Caret
) -> None:
    write(optimizer="{type: adamw, lr: 3.0}").rename(tmp_path / "base.yaml")
    (tmp_path / "run.yaml").write_text("extends: base.yaml\nseed: 5\n")
    (finding,) = check_file(tmp_path / "run.yaml", around)

    assert (Path(finding.place.file or "").name, caret(finding)) == ("base.yaml", "3.0")


def test_a_finding_about_a_value_that_is_not_written_stands_at_its_section(findings: Findings, caret: Caret) -> None:
    (finding,) = findings(precision="{dtype: bf16}", batch="{global_batch_size: 16, micro_batch_size: 4}")

    assert (finding.code, finding.place.key, caret(finding)) == ("ZT204", "precision", "{dtype: bf16}")


def test_a_finding_without_a_key_keeps_its_place() -> None:
    finding = error("ZT802", "missing-packages", "x").at(Place("f", 3, 4))

    assert placed(finding, parse("a: 1", "run.yaml")) == finding


@pytest.mark.parametrize(
    ("select", "ignore", "left"),
    [
        ([], [], ["ZT001", "ZT101", "ZT310"]),
        (["ZT1"], [], ["ZT101"]),
        (["ZT1", "ZT3"], [], ["ZT101", "ZT310"]),
        (["ZT101"], ["ZT1"], []),
        ([], ["ZT0", "ZT310"], ["ZT101"]),
        (["ZT"], [], ["ZT001", "ZT101", "ZT310"]),
    ],
)
def test_findings_are_selected_and_ignored_by_prefix(select: list[str], ignore: list[str], left: list[str]) -> None:
    found = [error(code, "a-name", "x") for code in ("ZT001", "ZT101", "ZT310")]

    assert codes(selected(found, select, ignore)) == left


def test_checking_a_reading_does_not_change_it(write: Callable[..., Path], around: Surroundings) -> None:
    reading = read_spec(write(seed="x", zero="{stage: 1, offload_param: {device: cpu}}"))
    before = list(reading.findings)
    check_reading(reading, around)

    assert list(reading.findings) == before


@pytest.mark.parametrize(
    "model",
    [
        "{architecture: llama, config: {hidden_size: [1]}}",
        "{architecture: llama, config: {rope_parameters: 5, num_hidden_layers: 1.5}}",
        "{architecture: gpt2, config: {n_embd: {a: 1}, n_head: null}}",
        "{architecture: qwen3, config: {layer_types: [1, 2], num_hidden_layers: 2}}",
        "{architecture: mixtral, config: {num_local_experts: 0}}",
        "{architecture: llama, config: {hidden_size: -8, head_dim: true}}",
    ],
)
def test_garbage_in_a_model_s_config_is_found_without_harm(findings: Findings, model: str) -> None:
    assert {"ZT024"} == set(codes(findings(model=model)))


def test_a_number_of_layers_beyond_reason_does_not_fill_the_memory(write: Callable[..., Path]) -> None:
    spec = write(model=f"{{architecture: llama, config: {{num_hidden_layers: {10**9}}}}}")
    limit = 600 * 2**20
    done = subprocess.run(
        [sys.executable, "-m", "zerotrain", "check", str(spec)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode in (0, 1)
    assert "Traceback" not in done.stderr
