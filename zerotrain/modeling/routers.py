"""What the routers of a model with experts decide while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from deepspeed.module_inject.auto_ep_layer import AutoEPMoELayer
from deepspeed.moe.sharded_moe import MOELayer
from torch import nn
from torch.nn import functional

from zerotrain.modeling.experts import balance_loss


class RouterMeter:
    """Counts the tokens of each expert, and how large the logits of the routers are, from one reading to the next."""

    def __init__(self, layers: Mapping[str, nn.Module], device: torch.device) -> None:
        self._device = device
        self._counts: dict[str, torch.Tensor] = {}
        self._counts_of_each: dict[str, torch.Tensor] = {}
        self._squares = torch.zeros(2, dtype=torch.float64, device=device)
        self._routes = torch.zeros(2, dtype=torch.float64, device=device)
        self._may_drop = any(isinstance(layer, MOELayer) for layer in layers.values())
        for name, layer in layers.items():
            if isinstance(layer, MOELayer):
                _listen_to_deepspeed(layer, partial(self._note_count, name), self._note_logits, self._note_routes)
            else:
                _listen(layer, partial(self._note_choice, name), self._note_logits)

    def _note_choice(self, name: str, chosen: torch.Tensor, experts: int) -> None:
        self._note_count(name, torch.bincount(chosen.flatten(), minlength=experts))

    def _note_count(self, name: str, count: torch.Tensor) -> None:
        for counts in (self._counts, self._counts_of_each):
            counts[name] = counts[name] + count if name in counts else count.double()

    def _note_routes(self, experts: torch.Tensor) -> None:
        dropped = (experts < 0).sum()
        self._routes += torch.stack([dropped.double(), dropped.new_tensor(experts.numel()).double()])

    def _note_logits(self, logits: torch.Tensor) -> None:
        squares = logits.detach().float().logsumexp(-1).square()
        self._squares += torch.stack([squares.sum().double(), squares.new_tensor(squares.numel()).double()])

    def read(self) -> dict[str, Any]:
        """Returns what was counted since the last reading, on all ranks, and begins anew. All ranks must call this.

        `expert_load` has for each layer the tokens of its busiest expert relative to the mean (1: evenly spread),
        `expert_load_max` the largest of them; `router_z_loss` is the mean of logsumexp(logits)^2 (Zoph et al., ST-MoE).
        Where experts may have a capacity, `dropped_tokens` is the share of what they were sent that was beyond it.
        """
        sums = torch.cat([*self._counts.values(), self._squares, self._routes])
        dist.all_reduce(sums)
        *counts, squares, routes = sums.split([*(count.numel() for count in self._counts.values()), 2, 2])
        self._counts.clear()
        self._squares.zero_()
        self._routes.zero_()
        load = [(count.max() / count.mean()).item() for count in counts]
        measured = {"expert_load": load, "expert_load_max": max(load), "router_z_loss": _share(squares)}
        return measured | ({"dropped_tokens": _share(routes)} if self._may_drop else {})

    def read_each(self) -> dict[str, Any]:
        """Returns the load of each expert since this was last read, on all ranks. All ranks must call this.

        `expert_loads` has for each layer the tokens of each expert relative to their mean; nothing before training.
        """
        if not self._counts_of_each:
            return {}
        sums = torch.cat(list(self._counts_of_each.values()))
        dist.all_reduce(sums)
        counts = sums.split([count.numel() for count in self._counts_of_each.values()])
        self._counts_of_each.clear()
        return {"expert_loads": [[round(load, 4) for load in (count / count.mean()).tolist()] for count in counts]}


def expert_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Returns the layers with a router and experts by name: those of transformers, or DeepSpeed's in their place."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, AutoEPMoELayer) or {"gate", "experts"} <= {child for child, _ in module.named_children()}
    }


def _share(parts: torch.Tensor) -> float:
    part, whole = parts.tolist()
    return part / whole


def router_loss(model: Any, output: Any) -> torch.Tensor | None:
    """Returns what the routers add to the mean loss of a batch, None where nothing asks for it.

    transformers computes the load-balancing loss with `output_router_logits: true`; it counts `router_aux_loss_coef`
    times, over the tokens of one micro-batch. DeepSpeed's layers always do; it counts as `moe` says.
    """
    loss = getattr(output, "aux_loss", None)
    return balance_loss(model) if loss is None else loss * model.config.router_aux_loss_coef


def _listen(layer: nn.Module, choice: Any, logits: Any) -> None:
    """Lets the functions hear what a layer's router chose, and its logits, in each forward pass that trains."""
    if isinstance(layer, AutoEPMoELayer):
        layer.router.register_forward_hook(_while_training(lambda _, said: choice(said[1], layer.num_experts)))
        layer.router.gate.register_forward_hook(_while_training(lambda _, said: logits(said)))
        return

    def both(_: Any, said: Any) -> None:
        choice(said[2], said[0].shape[-1])
        logits(said[0])

    layer.get_submodule("gate").register_forward_hook(_while_training(both))


def _listen_to_deepspeed(layer: MOELayer, count: Any, logits: Any, routes: Any) -> None:
    gate: Any = layer.gate

    def hear(given: Any, said: Any) -> None:
        _, _, _, experts, _, _, chosen = said
        count(chosen)
        routes(experts)
        # The router computes its logits inside, from what it is given, without noise.
        logits(functional.linear(given[0].float(), gate.wg.weight.float()))

    gate.register_forward_hook(_while_training(hear))


def _while_training(hear: Any) -> Any:
    """Returns a hook that passes on what a module is given and returns, unless it is computed again."""

    def hook(module: nn.Module, given: Any, said: Any) -> None:
        if module.training and torch._C._current_graph_task_id() == -1:
            with torch.no_grad():
                hear(given, said)

    return hook
