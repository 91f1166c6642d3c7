"""The raw keys of a spec, and what it is compiled to, are looked at like any DeepSpeed config."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

Findings = Callable[..., list[Diagnostic]]
Caret = Callable[[Diagnostic], str]

ZERO = "deepspeed.zero_optimization"


@pytest.mark.parametrize(
    ("raw", "code", "severity", "key"),
    [
        ("{memory_brakdown: true}", "ZT909", Severity.ERROR, "deepspeed.memory_brakdown"),
        ("{aio: {blok_size: 5}}", "ZT909", Severity.ERROR, "deepspeed.aio.blok_size"),
        ("{elasticity: {enabled: false}}", "ZT902", Severity.ERROR, "deepspeed.elasticity"),
        ("{zero_optimization: {zeropp_loco_param: 1}}", "ZT902", Severity.ERROR, f"{ZERO}.zeropp_loco_param"),
        ("{comms_logger: {a: 1}}", "ZT904", Severity.ERROR, "deepspeed.comms_logger.a"),
        ("{comms_logger: {verbose: 7}}", "ZT930", Severity.ERROR, "deepspeed.comms_logger.verbose"),
        ("{steps_per_print: 0}", None, None, "deepspeed.steps_per_print"),
    ],
)
def test_a_raw_key_is_judged_at_its_place(
    findings: Findings, raw: str, code: str | None, severity: Severity | None, key: str
) -> None:
    found = [finding for finding in findings(deepspeed=raw) if finding.place.key == key]

    assert found
    assert code is None or (found[0].code, found[0].severity) == (code, severity)


def test_a_finding_about_a_key_points_at_the_key(findings: Findings, caret: Caret) -> None:
    (finding,) = findings(deepspeed="{memory_brakdown: true}")

    assert caret(finding) == "memory_brakdown"


def test_raw_keys_that_deepspeed_reads_are_fine(findings: Findings) -> None:
    assert findings(deepspeed="{memory_breakdown: true, dump_state: true}", zero="{stage: 2}") == []


def test_what_a_field_is_compiled_to_is_told_at_the_field(findings: Findings) -> None:
    found = findings(optimizer="{type: lion, lr: 0.1}", zero="{stage: 1}")

    assert {finding.place.key for finding in found if finding.severity is Severity.ERROR} == {"optimizer.type"}


def test_what_a_rule_about_specs_has_said_is_not_said_again(findings: Findings) -> None:
    found = findings(precision="fp16", hardware="{gpu: cpu, gpus_per_node: 2}")

    assert len([finding for finding in found if finding.place.key == "precision.dtype"]) <= 1
    assert any(finding.severity is Severity.ERROR for finding in found)


def test_the_schema_is_that_of_the_software_the_spec_is_meant_for(findings: Findings) -> None:
    raw = "{curriculum_learning: {enabled: false}}"

    assert [finding.code for finding in findings(deepspeed=raw)] == ["ZT902"]
    assert "ZT902" not in [f.code for f in findings(deepspeed=raw, software="{deepspeed: 0.17.6}")]
