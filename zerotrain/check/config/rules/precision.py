"""DeepSpeed configs: number formats."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.check.config.case import AUTO, ConfigCase, whole
from zerotrain.check.config.partitioning import device_is_filled
from zerotrain.check.rule import Rule, config_rule
from zerotrain.diagnostic import Diagnostic

DTYPES = {
    **dict.fromkeys(("torch.float16", "fp16", "float16", "half"), "fp16"),
    **dict.fromkeys(("torch.float32", "fp32", "float32", "float"), "fp32"),
    **dict.fromkeys(("torch.bfloat16", "bf16", "bfloat16"), "bf16"),
    **dict.fromkeys(("torch.int8", "int8"), "int8"),
}
"""Spellings of a number format in `data_types` and `torch_autocast`; `DtypeEnum` in runtime/config.py."""

ADAMS = ("adam", "adamw")
"""What becomes `FusedAdam` on a GPU and `DeepSpeedCPUAdam` with offload."""


def settled_precision(case: ConfigCase) -> str | None:
    """Returns the format the weights are computed in, or None while a framework still decides.

    Accelerate, also under HF Trainer, fills `auto` and adds the section of its mixed precision when it is absent.
    """
    is_off = all(case.get(f"{name}.enabled") is False for name in ("fp16", "bf16"))
    return case.precision if case.precision != "fp32" or case.reader == "raw" or is_off else None


def dtype_of(case: ConfigCase, key: str) -> str | None:
    """Returns the number format that stands at a key, or None when it is none that DeepSpeed knows."""
    written = case.get(key)
    return DTYPES.get(written) if isinstance(written, str) else None


def bf16_section(case: ConfigCase) -> str:
    """Returns the name of the section that is read for bf16."""
    return "bfloat16" if case.get("bf16") is None and case.has("bfloat16") else "bf16"


def _autocasts(case: ConfigCase) -> bool:
    return bool(case.get("torch_autocast.enabled"))


def _scales_dynamically(case: ConfigCase) -> bool:
    return case.on("fp16.enabled") and case.number("fp16.loss_scale") in (0, None)


@config_rule("ZT220", "fp16-beside-bf16")
def fp16_beside_bf16(case: ConfigCase) -> Iterator[Diagnostic]:
    """fp16 and bf16 are both on.

    Why: DeepSpeed computes in one 16-bit format and refuses two: `bfloat16 and fp16 modes cannot be simultaneously
    enabled`.
    Wrong: `{"fp16": {"enabled": true}, "bf16": {"enabled": true}}`
    Right: `{"bf16": {"enabled": true}}`
    """
    section = bf16_section(case)
    if case.on("fp16.enabled") and case.on(f"{section}.enabled"):
        message = f"`fp16` and `{section}` are both on"
        yield case.error("fp16.enabled", message, help="switch one of them off; `bf16` needs no loss scale")


@config_rule("ZT221", "auto-cast-without-fp16")
def auto_cast_without_fp16(case: ConfigCase) -> Iterator[Diagnostic]:
    """Inputs are to be cast to fp16, but the weights are not in fp16.

    Why: DeepSpeed casts floating-point inputs even when fp16 is off, and the first layer fails on two different
    formats. Only models that take no floating-point input get away with it.
    Wrong: `{"fp16": {"enabled": false, "auto_cast": true}}`
    Right: `{"fp16": {"enabled": true, "auto_cast": true}}`
    """
    precision = settled_precision(case)
    if case.on("fp16.auto_cast") and precision not in ("fp16", None):
        message = f"`auto_cast` turns inputs into fp16 for weights in {precision}"
        yield case.warning("fp16.auto_cast", message, help="remove it, or switch `fp16.enabled` on")


@config_rule("ZT222", "static-loss-scale")
def static_loss_scale(case: ConfigCase) -> Iterator[Diagnostic]:
    """The loss of fp16 training is scaled by a constant.

    Why: a constant that is small lets gradients vanish, and with one that is big they overflow, and each step that
    overflows is skipped. A scale of 0 adapts itself.
    Wrong: `{"fp16": {"enabled": true, "loss_scale": 1}}`
    Right: `{"fp16": {"enabled": true, "loss_scale": 0}}`
    """
    scale = case.number("fp16.loss_scale")
    if case.get("fp16.enabled") in (True, AUTO) and scale is not None and scale > 0:
        message = f"a `loss_scale` of {scale} is constant"
        yield case.info("fp16.loss_scale", message, help="0 scales dynamically")


@config_rule("ZT223", "refused-loss-scaling")
def refused_loss_scaling(case: ConfigCase) -> Iterator[Diagnostic]:
    """The window or the lower bound of the dynamic loss scale is not positive.

    Why: DeepSpeed divides by the window and never goes below the bound; it refuses anything below 1 for them while the
    scale is dynamic.
    Wrong: `{"fp16": {"enabled": true, "loss_scale_window": 0}}`
    Right: `{"fp16": {"enabled": true, "loss_scale_window": 1000}}`
    """
    for key in ("fp16.loss_scale_window", "fp16.min_loss_scale"):
        value = case.number(key)
        if _scales_dynamically(case) and case.has(key) and value is not None and value < 1:
            message = f"`{key}` is {value}, and must be at least 1 for a dynamic loss scale"
            yield case.error(key, message, help="write a positive whole number")


@config_rule("ZT224", "stuck-loss-scale")
def stuck_loss_scale(case: ConfigCase) -> Iterator[Diagnostic]:
    """The hysteresis of the dynamic loss scale is below 1.

    Why: DeepSpeed counts it down by one at each overflow and lowers the scale when it is exactly 1; from 0 it never
    gets there, so that a scale that overflows stays and every step is skipped.
    Wrong: `{"fp16": {"enabled": true, "hysteresis": 0}}`
    Right: `{"fp16": {"enabled": true, "hysteresis": 1}}`
    """
    value = case.number("fp16.hysteresis")
    if _scales_dynamically(case) and value is not None and value < 1:
        message = f"with a `hysteresis` of {value} the loss scale is never lowered"
        yield case.warning("fp16.hysteresis", message, help="1 lowers it at the first overflow, 2 is the default")


@config_rule("ZT225", "fp16-unsupported-by-hardware")
def fp16_unsupported_by_hardware(case: ConfigCase) -> Iterator[Diagnostic]:
    """The hardware cannot train in fp16.

    Why: DeepSpeed asks the accelerator when the engine is built: `Type fp16 is not supported on your device`.
    Wrong: `{"fp16": {"enabled": true}}` on a CPU
    Right: `{"bf16": {"enabled": true}}` on a CPU
    """
    if case.on("fp16.enabled") and case.gpu is not None and not case.gpu.fp16:
        message = f"`{case.gpu.name}` cannot train in fp16"
        yield case.error("fp16.enabled", message, help="use `bf16`")


@config_rule("ZT226", "emulated-bf16")
def emulated_bf16(case: ConfigCase) -> Iterator[Diagnostic]:
    """The hardware has no units for bf16.

    Why: torch says that it can compute in bf16 because it emulates it, and DeepSpeed believes it. Training runs, at a
    fraction of the speed of fp16.
    Wrong: `{"bf16": {"enabled": true}}` on a V100
    Right: `{"fp16": {"enabled": true}}` on a V100
    """
    if case.gpu is None or case.gpu.bf16:
        return
    if case.precision == "bf16":
        message = f"`{case.gpu.name}` has no units for bf16 and emulates it"
        yield case.warning(f"{bf16_section(case)}.enabled", message, help="use `fp16`")
    elif _autocasts(case) and dtype_of(case, "torch_autocast.dtype") == "bf16":
        message = f"`{case.gpu.name}` has no units for bf16 and emulates it"
        yield case.warning("torch_autocast.dtype", message, help="use `fp16`")


@config_rule("ZT227", "mixed-accumulation-without-zero")
def mixed_accumulation_without_zero(case: ConfigCase) -> Iterator[Diagnostic]:
    """At stage 0, gradients are to be accumulated in another format than the weights'.

    Why: only the ZeRO optimizers accumulate in a format of their own; without one DeepSpeed stops with
    `NotImplementedError: unsupported mix of model_dtype and grad_accum_dtype`.
    Wrong: `{"bf16": {"enabled": true}, "data_types": {"grad_accum_dtype": "fp32"}}`
    Right: the same with `"zero_optimization": {"stage": 1}`
    """
    key = "data_types.grad_accum_dtype"
    precision, wanted = settled_precision(case), dtype_of(case, key)
    if case.stage == 0 and _stage_is_read(case) and None not in (precision, wanted) and wanted != precision:
        message = f"at ZeRO stage 0 gradients are accumulated in {precision}, not in {wanted}"
        yield case.error(key, message, help="use stage 1, or remove it")


def _stage_is_read(case: ConfigCase) -> bool:
    """Tells whether the stage is known: absent, `auto` in a raw config, or a number."""
    stage = case.get("zero_optimization.stage")
    return stage is None or str(stage) in ("0", "1", "2", "3") or (stage == AUTO and case.reader == "raw")


@config_rule("ZT228", "conflicting-param-dtype")
def conflicting_param_dtype(case: ConfigCase) -> Iterator[Diagnostic]:
    """`data_types.param_dtype` is not the format that is switched on.

    Why: the format of the weights comes from `fp16` and `bf16`; DeepSpeed refuses a `param_dtype` that says otherwise.
    Wrong: `{"data_types": {"param_dtype": "bf16"}}`
    Right: `{"bf16": {"enabled": true}}`
    """
    key = "data_types.param_dtype"
    precision, wanted = settled_precision(case), dtype_of(case, key)
    if None not in (precision, wanted) and wanted != precision:
        message = f"`param_dtype` says {wanted}, but the weights are in {precision}"
        yield case.error(key, message, help="remove it; `fp16.enabled` or `bf16.enabled` decides")


@config_rule("ZT229", "bf16-accumulation")
def bf16_accumulation(case: ConfigCase) -> Iterator[Diagnostic]:
    """Gradients of several micro-batches or ranks are added up in bf16.

    Why: without `grad_accum_dtype` DeepSpeed accumulates in the format of the weights. bf16 keeps 8 bits, so that small
    gradients vanish beside the sum, and the loss depends on how a batch is split.
    Wrong: `{"bf16": {"enabled": true}, "gradient_accumulation_steps": 16, "zero_optimization": {"stage": 2}}`
    Right: the same with `"data_types": {"grad_accum_dtype": "fp32"}`
    """
    steps = whole(case.get("gradient_accumulation_steps")) or 1
    is_default = case.get("data_types.grad_accum_dtype") is None
    if case.precision == "bf16" and case.stage > 0 and is_default and (steps > 1 or (case.world_size or 1) > 1):
        what = f"{steps} micro-batches" if steps > 1 else f"{case.world_size} ranks"
        message = f"gradients of {what} are added up in bf16"
        yield case.info(bf16_section(case), message, help='`"data_types": {"grad_accum_dtype": "fp32"}` adds in fp32')


@config_rule("ZT230", "refused-sixteen-bit-masters")
def refused_sixteen_bit_masters(case: ConfigCase) -> Iterator[Diagnostic]:
    """The optimizer is to keep its weights in 16 bits where it cannot.

    Why: DeepSpeed keeps 16-bit master weights with ZeRO only, in one format, and updates them with its CPU Adam, which
    needs an offloaded optimizer; with `bf16_optimizer_states` they may stay on the GPU.
    Wrong: `{"bf16": {"enabled": true, "bf16_master_weights_and_grads": true}, "zero_optimization": {"stage": 1}}`
    Right: the same with `"bf16_optimizer_states": true`
    """
    fp16, bf16 = "fp16.fp16_master_weights_and_grads", f"{bf16_section(case)}.bf16_master_weights_and_grads"
    states = f"{bf16_section(case)}.bf16_optimizer_states"
    on = [key for key in (fp16, bf16, states) if case.on(key)]
    if not on:
        return
    if case.stage == 0 and _stage_is_read(case):
        yield case.error(on[0], f"`{on[0]}` needs ZeRO", help="use stage 1 or higher, or remove it")
    elif states in on and bf16 not in on:
        yield case.error(states, f"`{states}` needs `bf16_master_weights_and_grads`", help="switch both on")
    elif fp16 in on and bf16 in on:
        yield case.error(fp16, "master weights cannot be in fp16 and in bf16", help="switch one of them off")
    elif fp16 in on or (states not in on and not _is_bf16_optimizer(case)) or case.device("offload_optimizer"):
        yield from _without_cpu_adam(case, on[0])


def _is_bf16_optimizer(case: ConfigCase) -> bool:
    """Tells whether `BF16_Optimizer` is used, which does not look at where the optimizer runs."""
    accumulates = dtype_of(case, "data_types.grad_accum_dtype")
    is_on_host = case.device("offload_optimizer") == "cpu"
    return case.precision == "bf16" and case.stage == 1 and accumulates == "fp32" and not is_on_host


def _without_cpu_adam(case: ConfigCase, key: str) -> Iterator[Diagnostic]:
    if case.device("offload_optimizer") is None and not device_is_filled(case, "offload_optimizer"):
        deprecated = case.get("zero_optimization.cpu_offload")
        if not deprecated:
            help = "add `offload_optimizer` with `device` `cpu`, or remove it"
            yield case.error(key, f"`{key}` needs an offloaded optimizer", help=help)
    elif case.optimizer is not None and (case.optimizer not in ADAMS or case.get("optimizer.params.torch_adam")):
        message = f"`{key}` needs the CPU Adam of DeepSpeed, not `{case.get('optimizer.type')}`"
        yield case.error(key, message, help="use `AdamW` without `torch_adam`, or remove it")


@config_rule("ZT231", "autocast-without-dtype")
def autocast_without_dtype(case: ConfigCase) -> Iterator[Diagnostic]:
    """Autocast is on, but its format is not given.

    Why: torch then takes its own default, which is fp16 on a GPU and bf16 on a CPU, and DeepSpeed scales the loss only
    for an fp16 that is written.
    Wrong: `{"torch_autocast": {"enabled": true}}`
    Right: `{"torch_autocast": {"enabled": true, "dtype": "bfloat16"}}`
    """
    if _autocasts(case) and not case.has("torch_autocast.dtype"):
        message = "`torch_autocast` has no `dtype`: fp16 without a loss scale on a GPU"
        yield case.warning("torch_autocast", message, help="add `dtype`")


@config_rule("ZT232", "idle-autocast")
def idle_autocast(case: ConfigCase) -> Iterator[Diagnostic]:
    """Autocast is to use a format that torch has no autocast for.

    Why: torch casts to fp16 or bf16; asked for another format it warns and switches autocast off.
    Wrong: `{"torch_autocast": {"enabled": true, "dtype": "fp32"}}`
    Right: `{"torch_autocast": {"enabled": true, "dtype": "bf16"}}`
    """
    wanted = dtype_of(case, "torch_autocast.dtype")
    if _autocasts(case) and wanted in ("fp32", "int8"):
        message = f"torch has no autocast to {wanted} and switches it off"
        yield case.warning("torch_autocast.dtype", message, help="use `bf16` or `fp16`")


@config_rule("ZT233", "autocast-beside-sixteen-bit")
def autocast_beside_sixteen_bit(case: ConfigCase) -> Iterator[Diagnostic]:
    """Autocast is on beside fp16 or bf16.

    Why: autocast is for weights in fp32. `fp16` and `bf16` turn the weights themselves into 16 bits, so that nothing of
    the precision autocast is used for is left.
    Wrong: `{"bf16": {"enabled": true}, "torch_autocast": {"enabled": true, "dtype": "bf16"}}`
    Right: `{"torch_autocast": {"enabled": true, "dtype": "bf16"}}`
    """
    if _autocasts(case) and case.precision != "fp32":
        message = f"the weights are in {case.precision} already, whatever autocast does"
        yield case.warning("torch_autocast.enabled", message, help="use one of the two")


@config_rule("ZT234", "zero-in-fp32")
def zero_in_fp32(case: ConfigCase) -> Iterator[Diagnostic]:
    """ZeRO is on and no 16-bit format is mentioned.

    Why: everything is computed in fp32 then, at a fraction of the speed of bf16 and with twice the activations.
    Wrong: `{"zero_optimization": {"stage": 2}}`
    Right: `{"zero_optimization": {"stage": 2}, "bf16": {"enabled": true}}`
    """
    is_unsaid = not any(case.has(section) for section in ("fp16", "bf16", "bfloat16"))
    if case.reader == "raw" and case.stage > 0 and is_unsaid and not _autocasts(case) and not case.is_compiled:
        yield case.info("zero_optimization", "training runs in fp32", help="`bf16` or `fp16` is faster")


RULES: tuple[Rule, ...] = (
    fp16_beside_bf16,
    auto_cast_without_fp16,
    static_loss_scale,
    refused_loss_scaling,
    stuck_loss_scale,
    fp16_unsupported_by_hardware,
    emulated_bf16,
    mixed_accumulation_without_zero,
    conflicting_param_dtype,
    bf16_accumulation,
    refused_sixteen_bit_masters,
    autocast_without_dtype,
    idle_autocast,
    autocast_beside_sixteen_bit,
    zero_in_fp32,
)
