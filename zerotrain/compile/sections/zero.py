"""ZeRO: what is partitioned, and where it lives."""

from __future__ import annotations

from typing import Any

from zerotrain.arch.sparse import EXPERT_BLOCKS
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
        section |= _stage_3(resolved) | _leaves(resolved)
    return {"zero_optimization": section | _offload(zero)}


def _written(value: Any, field: str) -> Setting:
    return Setting(value, f"zero.{field}", "as written")


def _derived(resolved: Resolved, field: str) -> Setting:
    key = f"zero.{field}"
    return Setting(getattr(resolved.spec.zero, field), key, resolved.derivations.get(key, "as written"))


def _reduction(resolved: Resolved) -> Section:
    # Under Muon DeepSpeed 0.19.8 refuses to scatter at stage 3 (runtime/zero/stage3.py), and at stage 2 in bf16 it
    # loses the gradients of norms without a word: they stay as they began (tests/ranks/test_parity.py).
    scatters = resolved.spec.optimizer.type != "muon" or resolved.spec.zero.stage == 1
    scatter_why = "each rank gets only its part" if scatters else "DeepSpeed cannot scatter under Muon"
    return {
        "contiguous_gradients": Setting(True, ZEROTRAIN, "gradients are copied to one buffer as they arise"),
        "reduce_scatter": Setting(scatters, ZEROTRAIN if scatters else "optimizer.type", scatter_why),
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
        "zero_hpz_partition_size": Setting(
            min(zero.hpz_partition_size, resolved.topology.world_size),
            "zero.hpz_partition_size",
            "as written, at most the number of ranks",
        ),
        "zero_quantized_weights": _written(zero.quantized_weights, "quantized_weights"),
        "zero_quantized_gradients": _written(zero.quantized_gradients, "quantized_gradients"),
    }


def _leaves(resolved: Resolved) -> Section:
    """Returns which modules stage 3 gathers as one: those with experts, of which ranks may use different ones.

    DeepSpeed knows three classes by itself (runtime/zero/leaf_module_config.py). The layers that `parallel.ep` and
    `moe` put in their place are no leaves.
    """
    shape, spec = resolved.shape, resolved.spec
    if shape is None or shape.experts is None or spec.parallel.ep > 1 or spec.moe is not None:
        return {}
    why = "the experts of a layer are gathered together, whichever of them a rank uses"
    return {"leaf_module": {"classes": Setting([EXPERT_BLOCKS[shape.architecture]], ZEROTRAIN, why)}}


def _offload(zero: ZeroSpec) -> Section:
    section: Section = {}
    for name in ("offload_optimizer", "offload_param"):
        offload = getattr(zero, name)
        if offload is not None:
            written = offload.model_dump(exclude_none=True)
            section[name] = {key: Setting(value, f"zero.{name}.{key}", "as written") for key, value in written.items()}
    return section
