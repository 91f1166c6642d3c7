"""Number formats of weights, accumulation and communication."""

from __future__ import annotations

from zerotrain.compile.dsconfig import ZEROTRAIN, Section, Setting
from zerotrain.compile.resolve import Resolved
from zerotrain.spec.training import LossScaleSpec, PrecisionSpec

_AUTOCAST_MODULES = ["torch.nn.Linear", "torch.nn.Conv1d", "torch.nn.Conv2d", "torch.nn.Conv3d"]


def emit_precision(resolved: Resolved) -> Section:
    """Returns the precision sections, all of them, so that none is left to a default."""
    precision, why = resolved.spec.precision, resolved.derivations
    dtype = precision.dtype
    return {
        "fp16": _fp16(precision) if dtype == "fp16" else _off("fp16", dtype),
        "bf16": _bf16() if dtype == "bf16" else _off("bf16", dtype),
        "torch_autocast": _autocast() if dtype == "autocast-bf16" else _off("torch_autocast", dtype),
        "data_types": {
            "grad_accum_dtype": Setting(
                precision.grad_accum_dtype,
                "precision.grad_accum_dtype",
                why.get("precision.grad_accum_dtype", "as written"),
            )
        },
        "communication_data_type": Setting(
            precision.communication_dtype,
            "precision.communication_dtype",
            why.get("precision.communication_dtype", "as written"),
        ),
    }


def _off(section: str, dtype: str) -> Section:
    return {"enabled": Setting(False, "precision.dtype", f"the dtype is `{dtype}`, not {section}")}


def _on() -> Setting:
    return Setting(True, "precision.dtype", "as written")


def _bf16() -> Section:
    return {
        "enabled": _on(),
        "immediate_grad_update": Setting(False, ZEROTRAIN, "gradients are added up once per backward pass"),
        "check_grad_overflow": Setting(True, ZEROTRAIN, "a step with infinite gradients is skipped"),
        "bf16_master_weights_and_grads": Setting(False, ZEROTRAIN, "master weights are kept in fp32"),
        "bf16_optimizer_states": Setting(False, ZEROTRAIN, "optimizer states are kept in fp32"),
    }


def _fp16(precision: PrecisionSpec) -> Section:
    fixed = precision.loss_scale if isinstance(precision.loss_scale, float) else 0.0
    dynamic = precision.loss_scale if isinstance(precision.loss_scale, LossScaleSpec) else LossScaleSpec()
    source = "precision.loss_scale"
    return {
        "enabled": _on(),
        "auto_cast": Setting(False, ZEROTRAIN, "inputs are token ids, never cast"),
        "loss_scale": Setting(fixed, source, "as written" if fixed else "0 means dynamic"),
        "initial_scale_power": Setting(dynamic.initial_scale_power, f"{source}.initial_scale_power", "as written"),
        "loss_scale_window": Setting(dynamic.window, f"{source}.window", "as written"),
        "hysteresis": Setting(dynamic.hysteresis, f"{source}.hysteresis", "as written"),
        "consecutive_hysteresis": Setting(False, ZEROTRAIN, "a good step does not restore the hysteresis"),
        "min_loss_scale": Setting(dynamic.min_scale, f"{source}.min_scale", "as written"),
        "fp16_master_weights_and_grads": Setting(False, ZEROTRAIN, "master weights are kept in fp32"),
    }


def _autocast() -> Section:
    return {
        "enabled": _on(),
        "dtype": Setting("bf16", "precision.dtype", "as written"),
        "lower_precision_safe_modules": Setting(_AUTOCAST_MODULES, ZEROTRAIN, "matrix products run in bf16"),
    }
