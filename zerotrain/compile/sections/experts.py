"""Expert parallelism: the experts of a layer spread over ranks (DeepSpeed's AutoEP)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zerotrain.arch.sparse import EXPERT_BLOCKS
from zerotrain.compile.dsconfig import ZEROTRAIN, Section, Setting
from zerotrain.compile.resolve import Resolved
from zerotrain.diagnostic import Diagnostic, warning
from zerotrain.spec.moe import MoeSpec

_ALWAYS: Mapping[str, tuple[Any, str]] = {
    "expert_tensor_parallel_size": (1, "experts cannot be split by tensors"),
    "use_grouped_mm": (True, "the experts of a rank are computed in one product"),
    "comm_backend": ("comm", "tokens travel by all-to-all, on every kind of hardware"),
    "combine_impl": ("weighted_sum", "what experts say is weighted and summed as transformers does it"),
    "score_apply": ("post", "tokens are weighted after the experts, as transformers does it"),
}


def emit_experts(resolved: Resolved) -> Section:
    """Returns the `expert_parallel` section; nothing while every rank keeps all experts, or `moe` makes them."""
    ranks = resolved.spec.parallel.ep
    if ranks == 1 or resolved.spec.moe is not None:
        return {}
    architecture = resolved.shape.architecture if resolved.shape else None
    # DeepSpeed's descriptions of layers are named as the model types of transformers (module_inject/auto_ep_presets/).
    preset = architecture if architecture in EXPERT_BLOCKS else None
    section: Section = {
        "enabled": Setting(True, "parallel.ep", "experts are spread over ranks"),
        "autoep_size": Setting(ranks, "parallel.ep", "as written"),
        "preset_model": Setting(preset, "model", f"the layers of `{architecture}`"),
    }
    fixed: Section = {key: Setting(value, ZEROTRAIN, why) for key, (value, why) in _ALWAYS.items()}
    return {"expert_parallel": section | fixed}


def unsaid_experts(moe: MoeSpec | None) -> Diagnostic | None:
    """Returns a warning when a script that uses the JSON must put experts into the model itself."""
    if moe is None:
        return None
    message = f"the {moe.experts} experts of a layer are not in the JSON, which has no place for them"
    help = "build the layers with `deepspeed.moe.layer.MoE`, or use `zerotrain train`"
    return warning("ZT489", "unsaid-experts", message, key="moe", help=help)
