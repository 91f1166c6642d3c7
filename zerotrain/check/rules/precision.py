"""ZT2: number formats."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, rule
from zerotrain.diagnostic import Diagnostic

_SIXTEEN_BIT = ("bf16", "fp16")


@rule("ZT201", "unsupported-fp16")
def unsupported_fp16(case: Case) -> Iterator[Diagnostic]:
    """The hardware cannot train in fp16.

    Why: DeepSpeed refuses fp16 on a CPU without fp16 instructions, when the engine is built.
    Wrong: `precision: fp16` with `hardware: {gpu: cpu}`
    Right: `precision: bf16`
    """
    if case.spec.precision.dtype == "fp16" and case.gpu is not None and not case.gpu.fp16:
        message = f"`{case.gpu.name}` cannot train in fp16"
        yield case.error("precision", message, help="use `bf16` or `fp32`")


@rule("ZT202", "unsupported-bf16")
def unsupported_bf16(case: Case) -> Iterator[Diagnostic]:
    """The hardware has no units for bf16.

    Why: GPUs before Ampere emulate bf16, and DeepSpeed takes that for support: training runs, but slowly.
    Wrong: `precision: bf16` with `hardware: {gpu: V100-SXM-32}`
    Right: `precision: fp16`
    """
    if case.spec.precision.dtype in ("bf16", "autocast-bf16") and case.gpu is not None and not case.gpu.bf16:
        message = f"`{case.gpu.name}` has no units for bf16, and emulates it"
        yield case.warning("precision", message, help="use `fp16` or `fp32`")


@rule("ZT203", "mixed-accumulation-at-stage-0")
def mixed_accumulation_at_stage_0(case: Case) -> Iterator[Diagnostic]:
    """Without ZeRO, gradients are to be accumulated in another format than the weights'.

    Why: DeepSpeed refuses the mix at stage 0 (`unsupported mix of model_dtype and grad_accum_dtype`).
    Wrong: `{precision: {dtype: bf16, grad_accum_dtype: fp32}, zero: {stage: 0}}`
    Right: the same at stage 1, which costs no more memory on one rank and less on several
    """
    precision = case.spec.precision
    weights = precision.dtype if precision.dtype in _SIXTEEN_BIT else "fp32"
    if case.spec.zero.stage == 0 and precision.grad_accum_dtype not in ("auto", weights):
        message = f"at ZeRO stage 0 DeepSpeed accumulates in `{weights}`, not in `{precision.grad_accum_dtype}`"
        help = "use `zero.stage: 1`, or leave `grad_accum_dtype` out"
        yield case.error("precision.grad_accum_dtype", message, help=help)


@rule("ZT204", "sixteen-bit-accumulation")
def sixteen_bit_accumulation(case: Case) -> Iterator[Diagnostic]:
    """Many gradients are added up in a 16-bit format.

    Why: bf16 has 8 bits of precision, so that small gradients vanish beside the sum; the loss curve depends on the
    number of accumulation steps.
    Wrong: `precision: bf16` at `zero: {stage: 0}` with 8 accumulation steps
    Right: `zero: {stage: 1}`, where gradients are accumulated in fp32
    """
    settled = case.resolved.spec
    steps = settled.batch.gradient_accumulation_steps
    if settled.precision.grad_accum_dtype in _SIXTEEN_BIT and isinstance(steps, int) and steps > 1:
        message = f"gradients of {steps} micro-batches are added up in `{settled.precision.grad_accum_dtype}`"
        help = "use `zero.stage: 1` or higher with `grad_accum_dtype: fp32`"
        yield case.warning("precision", message, help=help)


@rule("ZT205", "loss-scale-without-fp16")
def loss_scale_without_fp16(case: Case) -> Iterator[Diagnostic]:
    """A loss scale is given, but the format needs none.

    Why: only fp16 scales the loss; the setting is ignored.
    Wrong: `precision: {dtype: bf16, loss_scale: 1024.0}`
    Right: `precision: bf16`
    """
    precision = case.spec.precision
    if precision.loss_scale is not None and precision.dtype != "fp16":
        message = f"`{precision.dtype}` ignores a loss scale"
        yield case.warning("precision.loss_scale", message, help="remove it")


@rule("ZT206", "foreign-accumulation")
def foreign_accumulation(case: Case) -> Iterator[Diagnostic]:
    """Gradients of one 16-bit format are to be accumulated in the other.

    Why: bf16 numbers overflow in fp16, and fp16 numbers lose precision in bf16; DeepSpeed refuses some of the mixes.
    Wrong: `precision: {dtype: bf16, grad_accum_dtype: fp16}`
    Right: `precision: bf16`
    """
    precision = case.spec.precision
    weights = "bf16" if precision.dtype == "autocast-bf16" else precision.dtype
    foreign = {"bf16": "fp16", "fp16": "bf16"}.get(weights)
    if foreign and precision.grad_accum_dtype == foreign and case.spec.zero.stage > 0:
        message = f"gradients of `{precision.dtype}` cannot be accumulated in `{foreign}`"
        yield case.error("precision.grad_accum_dtype", message, help="use `fp32`, or leave it out")


RULES: tuple[Rule, ...] = (
    unsupported_fp16,
    unsupported_bf16,
    mixed_accumulation_at_stage_0,
    sixteen_bit_accumulation,
    loss_scale_without_fp16,
    foreign_accumulation,
)
