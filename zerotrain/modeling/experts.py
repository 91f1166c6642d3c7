"""Experts in the place of a dense decoder's feed-forward layers, computed by DeepSpeed's `MoE`."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from deepspeed.moe.layer import MoE
from torch import nn
from transformers import PreTrainedModel

from zerotrain.arch.experts import GATED, has_experts
from zerotrain.diagnostic import error
from zerotrain.errors import EngineError
from zerotrain.modeling.initialize import initialize_part
from zerotrain.spec.moe import MoeSpec
from zerotrain.spec.suggest import listed

NOISE: Mapping[str | None, str | None] = {None: None, "jitter": "Jitter", "rsample": "RSample"}
"""What DeepSpeed calls the noise in a router."""


class ExpertLayer(MoE):
    """DeepSpeed's layer, which returns what a feed-forward layer does: hidden states alone."""

    def __init__(self, dense: nn.Module, width: int, moe: MoeSpec, ep: int) -> None:
        # The second expert, and the tokens that are dropped, would be drawn at random, in evaluation too.
        super().__init__(
            hidden_size=width,
            expert=dense,
            num_experts=moe.experts,
            ep_size=ep,
            k=moe.top_k,
            capacity_factor=moe.capacity_factor,
            eval_capacity_factor=moe.eval_capacity_factor,
            min_capacity=moe.min_capacity,
            use_residual=moe.residual,
            noisy_gate_policy=NOISE[moe.noisy_gate],
            drop_tokens=moe.drop_tokens,
            use_rts=False,
            use_tutel=False,
            enable_expert_tensor_parallelism=False,
            top2_2nd_expert_sampling=False,
        )
        self.aux_loss_weight = moe.aux_loss_weight

    def forward(self, hidden_states: torch.Tensor, used_token: torch.Tensor | None = None) -> Any:
        """Returns hidden states of the same shape; the loss of the router stays with the layer."""
        return super().forward(hidden_states, used_token)[0]


def add_experts(model: PreTrainedModel, moe: MoeSpec, ep: int, place: int, seed: int) -> None:
    """Puts experts in the place of the feed-forward layers that get some.

    `place` is that of this rank in its group of `ep` neighbours; it gets as many experts, in the order of the ranks.
    What is drawn depends on the seed, the layer and the number of the expert among all of them. Raises EngineError when
    the architecture has no such layers, or none of them is to get experts.
    """
    kind, depth = model.config.model_type, model.config.num_hidden_layers
    if kind not in GATED:
        help = f"known are {listed(GATED, 'and')}"
        raise EngineError(error("ZT478", "inexpert-model", f"a `{kind}` cannot get experts", help=help, key="moe"))
    if moe.every > depth:
        message = f"`every: {moe.every}` gives none of the {depth} layers experts"
        raise EngineError(error("ZT482", "no-layer-with-experts", message, key="moe.every"))
    base: Any = model.base_model
    for index, layer in enumerate(base.layers):
        if has_experts(index, moe):
            layer.mlp = ExpertLayer(layer.mlp, model.config.hidden_size, moe, ep)
            _initialize(layer.mlp, f"{model.base_model_prefix}.layers.{index}.mlp", model, moe, place, seed)


def _initialize(layer: ExpertLayer, name: str, model: PreTrainedModel, moe: MoeSpec, place: int, seed: int) -> None:
    initialize_part(layer.deepspeed_moe.gate, f"{name}.gate", model, seed)
    if moe.residual:
        initialize_part(layer.coefficient, f"{name}.coefficient", model, seed)
    first = place * layer.num_local_experts
    for number, expert in enumerate(_experts(layer), start=first) if moe.init == "random" else ():
        initialize_part(expert, f"{name}.experts.{number}", model, seed)


def _experts(layer: ExpertLayer) -> Any:
    return layer.deepspeed_moe.experts.deepspeed_experts


def layers_with_experts(model: nn.Module) -> dict[str, ExpertLayer]:
    """Returns the layers that `add_experts` has made, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, ExpertLayer)}


def balance_loss(model: nn.Module) -> torch.Tensor | None:
    """Returns what the routers of the last forward pass add to a loss; None where nothing is to be trained."""
    layers = [layer for layer in layers_with_experts(model).values() if layer.aux_loss_weight]
    if not layers:
        return None
    return torch.stack([layer.deepspeed_moe.l_aux * layer.aux_loss_weight for layer in layers]).sum()


@contextmanager
def with_room_for_all(model: nn.Module) -> Generator[None]:
    """Lets each expert take every token of a micro-batch while evaluating, so that no token depends on another's way.

    Capacities are the same whatever the tokens are, so that products round alike.
    """
    gates: list[Any] = [layer.deepspeed_moe.gate for layer in layers_with_experts(model).values()]
    before = [(gate.drop_tokens, gate.eval_capacity_factor) for gate in gates]
    for gate in gates:
        gate.drop_tokens, gate.eval_capacity_factor = True, float(gate.wg.out_features)
    try:
        yield
    finally:
        for gate, (drops, factor) in zip(gates, before, strict=True):
            gate.drop_tokens, gate.eval_capacity_factor = drops, factor
