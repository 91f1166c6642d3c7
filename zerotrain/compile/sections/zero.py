"""ZeRO: what is partitioned, and where it lives."""

from __future__ import annotations

from typing import Any

from zerotrain.compile.dsconfig import ZEROTRAIN, Section, Setting
from zerotrain.compile.resolve import Resolved
from zerotrain.spec.parallelism import ZeroSpec


def emit_zero(resolved: Resolved) -> Section:
    """Returns the `zero_optimization` section."""
    zero = resolved.spec.zero
    section: Section = {"stage": _written(zero.stage, "stage")}
    if zero.stage > 0:
        section |= _reduction(resolved)
    if zero.stage in (1, 2):
        section["allgather_bucket_size"] = _derived(resolved, "allgather_bucket_size")
    if zero.stage == 3:
        section |= _stage_3(resolved)
    return {"zero_optimization": section | _offload(zero)}


def _written(value: Any, field: str) -> Setting:
    return Setting(value, f"zero.{field}", "as written")


def _derived(resolved: Resolved, field: str) -> Setting:
    key = f"zero.{field}"
    return Setting(getattr(resolved.spec.zero, field), key, resolved.derivations.get(key, "as written"))


def _reduction(resolved: Resolved) -> Section:
    muon_at_3 = resolved.spec.optimizer.type == "muon" and resolved.spec.zero.stage == 3
    scatter_why = "DeepSpeed cannot scatter under Muon at stage 3" if muon_at_3 else "each rank gets only its part"
    return {
        "contiguous_gradients": Setting(True, ZEROTRAIN, "gradients are copied to one buffer as they arise"),
        "reduce_scatter": Setting(not muon_at_3, "optimizer.type" if muon_at_3 else ZEROTRAIN, scatter_why),
        "reduce_bucket_size": _derived(resolved, "reduce_bucket_size"),
        "overlap_comm": _derived(resolved, "overlap_comm"),
        "compute_grad_norm": Setting(True, ZEROTRAIN, "the norm is logged, and clipping needs it"),
        "load_from_fp32_weights": Setting(True, ZEROTRAIN, "a resumed run continues from the fp32 master weights"),
    }


def _stage_3(resolved: Resolved) -> Section:
    zero = resolved.spec.zero
    return {
        "stage3_prefetch_bucket_size": _derived(resolved, "prefetch_bucket_size"),
        "stage3_param_persistence_threshold": _derived(resolved, "param_persistence_threshold"),
        "stage3_max_live_parameters": _written(zero.max_live_parameters, "max_live_parameters"),
        "stage3_max_reuse_distance": Setting(
            zero.max_live_parameters, "zero.max_live_parameters", "a parameter needed again within the limit is kept"
        ),
        "stage3_gather_16bit_weights_on_model_save": Setting(False, ZEROTRAIN, "exports are made from the checkpoint"),
        "sub_group_size": _written(zero.sub_group_size, "sub_group_size"),
        "zero_quantized_weights": Setting(False, ZEROTRAIN, "weights travel unquantized"),
        "zero_quantized_gradients": Setting(False, ZEROTRAIN, "gradients travel unquantized"),
    }


def _offload(zero: ZeroSpec) -> Section:
    section: Section = {}
    for name in ("offload_optimizer", "offload_param"):
        offload = getattr(zero, name)
        if offload is not None:
            written = offload.model_dump(exclude_none=True)
            section[name] = {key: Setting(value, f"zero.{name}.{key}", "as written") for key, value in written.items()}
    return section
