"""After `deepspeed.initialize`: whether the layers with experts compute what the spec asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch.distributed as dist
from deepspeed import DeepSpeedEngine
from deepspeed.utils import groups

from zerotrain.arch.experts import has_experts
from zerotrain.engine.readback import differs
from zerotrain.errors import EngineError
from zerotrain.modeling.experts import NOISE, ExpertLayer, layers_with_experts
from zerotrain.modeling.unwrap import module_of
from zerotrain.spec.moe import MoeSpec


def refuse_other_experts(engine: DeepSpeedEngine, moe: MoeSpec, ep: int) -> None:
    """Raises EngineError with every setting that a layer with experts has otherwise, or when other layers have some."""
    layers = layers_with_experts(module_of(engine))
    given = [index for index in range(module_of(engine).config.num_hidden_layers) if has_experts(index, moe)]
    found = [int(name.split(".")[-2]) for name in layers]
    wrong = [] if found == given else [("moe.every", given, found)]
    for layer in layers.values():
        wrong += [difference for difference in _differences(layer, moe, ep) if difference not in wrong]
    if wrong:
        raise EngineError(*(differs(*difference) for difference in wrong))


def _differences(layer: ExpertLayer, moe: MoeSpec, ep: int) -> Iterator[tuple[str, Any, Any]]:
    """Yields key, given value and value in force."""
    computing: Any = layer.deepspeed_moe
    gate, group = computing.gate, groups._get_expert_parallel_group(layer.expert_group_name)
    values = {
        "experts": (moe.experts, gate.wg.out_features),
        "top_k": (moe.top_k, gate.k),
        "drop_tokens": (moe.drop_tokens, gate.drop_tokens),
        "capacity_factor": (moe.capacity_factor, gate.capacity_factor),
        "eval_capacity_factor": (moe.eval_capacity_factor, gate.eval_capacity_factor),
        "min_capacity": (moe.min_capacity, gate.min_capacity),
        "noisy_gate": (NOISE[moe.noisy_gate], gate.noisy_gate_policy),
        "residual": (moe.residual, layer.use_residual),
        "aux_loss_weight": (moe.aux_loss_weight, layer.aux_loss_weight),
    }
    fixed = {
        "use_rts": (False, gate.use_rts),
        "top2_2nd_expert_sampling": (False, gate.top2_2nd_expert_sampling),
        "use_tutel": (False, computing.use_tutel),
        "local experts": (moe.experts // ep, len(computing.experts.deepspeed_experts)),
        "expert-parallel ranks": (ep, dist.get_world_size(group)),
        "place among them": (dist.get_rank() % ep, dist.get_rank(group)),
    }
    for name, (given, used) in (values | fixed).items():
        if given != used:
            yield f"moe.{name}", given, used
