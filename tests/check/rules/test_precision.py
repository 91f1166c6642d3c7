"""ZT2: number formats."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]
Caret = Callable[[Diagnostic], str]

H100 = "{gpu: H100-SXM, gpus_per_node: 2}"
V100 = "{gpu: V100-SXM-32, gpus_per_node: 2}"


def test_zt201_fp16_on_hardware_without_it(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(precision="fp16")

    assert (finding.code, finding.name, finding.severity) == ("ZT201", "unsupported-fp16", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("precision", "fp16")
    assert finding.message == "`cpu` cannot train in fp16"
    assert findings(precision="fp16", hardware=V100) == []
    assert findings(precision="bf16") == []


@pytest.mark.parametrize("precision", ["bf16", "autocast-bf16"])
def test_zt202_bf16_on_hardware_without_it(one: One, findings: Findings, caret: Caret, precision: str) -> None:
    finding = one(precision=precision, hardware=V100)

    assert (finding.code, finding.name, finding.severity) == ("ZT202", "unsupported-bf16", Severity.WARNING)
    assert (finding.place.key, caret(finding)) == ("precision", precision)
    assert finding.message == "`V100-SXM-32` has no units for bf16, and emulates it"
    assert findings(precision=precision, hardware=H100) == []


@pytest.mark.parametrize(
    ("precision", "weights"),
    [("{dtype: bf16, grad_accum_dtype: fp32}", "bf16"), ("{dtype: fp32, grad_accum_dtype: bf16}", "fp32")],
)
def test_zt203_another_format_of_accumulation_without_zero(
    one: One, findings: Findings, caret: Caret, precision: str, weights: str
) -> None:
    finding = one(precision=precision)

    assert (finding.code, finding.name, finding.severity) == (
        "ZT203",
        "mixed-accumulation-at-stage-0",
        Severity.ERROR,
    )
    assert finding.place.key == "precision.grad_accum_dtype"
    assert caret(finding) in ("fp32", "bf16")
    assert f"DeepSpeed accumulates in `{weights}`" in finding.message
    assert findings(precision=precision, zero="{stage: 1}") == []


def test_zt204_many_gradients_in_sixteen_bits(one: One, findings: Findings, caret: Caret) -> None:
    many = "{global_batch_size: 64, micro_batch_size: 4}"
    finding = one(precision="bf16", batch=many)

    assert (finding.code, finding.name, finding.severity) == ("ZT204", "sixteen-bit-accumulation", Severity.WARNING)
    assert (finding.place.key, caret(finding)) == ("precision", "bf16")
    assert finding.message == "gradients of 8 micro-batches are added up in `bf16`"
    assert findings(precision="bf16") == []
    assert findings(precision="bf16", batch=many, zero="{stage: 1}") == []


def test_zt205_a_loss_scale_that_is_ignored(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(precision="{dtype: bf16, loss_scale: 1024}")

    assert (finding.code, finding.name, finding.severity) == ("ZT205", "loss-scale-without-fp16", Severity.WARNING)
    assert (finding.place.key, caret(finding)) == ("precision.loss_scale", "1024")
    assert finding.message == "`bf16` ignores a loss scale"
    assert findings(precision="{dtype: fp16, loss_scale: 1024}", hardware=H100) == []
    assert findings(precision="{dtype: bf16, loss_scale: null}") == []


@pytest.mark.parametrize(("dtype", "foreign"), [("bf16", "fp16"), ("fp16", "bf16"), ("autocast-bf16", "fp16")])
def test_zt206_one_sixteen_bit_format_accumulated_in_the_other(
    one: One, findings: Findings, caret: Caret, dtype: str, foreign: str
) -> None:
    finding = one(precision=f"{{dtype: {dtype}, grad_accum_dtype: {foreign}}}", zero="{stage: 1}", hardware=H100)

    assert (finding.code, finding.name, finding.severity) == ("ZT206", "foreign-accumulation", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("precision.grad_accum_dtype", foreign)
    assert finding.message == f"gradients of `{dtype}` cannot be accumulated in `{foreign}`"
    assert findings(precision=f"{{dtype: {dtype}, grad_accum_dtype: fp32}}", zero="{stage: 1}", hardware=H100) == []
