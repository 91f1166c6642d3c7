"""Activation checkpointing: recompute instead of keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any

import deepspeed
import torch
from deepspeed.runtime.activation_checkpointing import checkpointing
from torch import nn
from torch.autograd.graph import save_on_cpu
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from zerotrain.arch.recompute import RECOMPUTED_PARTS
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import EngineError
from zerotrain.spec.parallelism import ActivationCheckpointingSpec

Recompute = Callable[..., Any]
"""Calls a function with arguments, and calls it again in the backward pass."""


def enable_recompute(model: PreTrainedModel, chosen: ActivationCheckpointingSpec, ds_config: Mapping[str, Any]) -> None:
    """Switches activation checkpointing on as the spec asks, and makes sure that it is.

    The engine never applies its `activation_checkpointing` section by itself (no reader besides
    `deepspeed.checkpointing.configure`, DeepSpeed 0.19.8), so it is applied here. Raises EngineError when the
    architecture has no layer that takes part, or not the parts that are asked for.
    """
    if chosen.granularity == "none":
        return
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not (model.supports_gradient_checkpointing and layers):
        raise EngineError(_not_taken_part(model, "layer"))
    if chosen.granularity == "selective":
        _recompute_parts(model, layers[:: chosen.every], chosen)
        return
    if chosen.implementation == "deepspeed":
        deepspeed.checkpointing.configure(None, deepspeed_config=dict(ds_config))
        # DeepSpeed's checkpointing gives no gradient to a layer whose inputs need none, as behind frozen embeddings.
        model.enable_input_require_grads()
    model._set_gradient_checkpointing(
        enable=True, gradient_checkpointing_func=_function(chosen), every_n_layers=chosen.every
    )


def _recompute_parts(
    model: PreTrainedModel, layers: list[GradientCheckpointingLayer], chosen: ActivationCheckpointingSpec
) -> None:
    names, recompute = RECOMPUTED_PARTS.get(model.config.model_type, {}), _function(chosen)
    for part in chosen.parts:
        if part not in names:
            raise EngineError(_not_taken_part(model, part))
        for layer in layers:
            _recompute_always(layer.get_submodule(names[part]), recompute)


def _recompute_always(module: nn.Module, recompute: Recompute) -> None:
    # Through `forward`, and not by a wrapper in the module's place, so that parameters keep their names.
    module.forward = wraps(module.forward)(partial(recompute, module.forward))


def _function(chosen: ActivationCheckpointingSpec) -> Recompute:
    if chosen.implementation == "deepspeed":
        return checkpointing.checkpoint
    kept = partial(checkpoint, use_reentrant=False)
    return partial(_on_host, kept) if chosen.cpu_checkpointing else kept


def _on_host(recompute: Recompute, function: Callable[..., Any], *inputs: Any) -> Any:
    """Recomputes from inputs that wait in host memory; what the function itself saves is dropped all the same."""
    with save_on_cpu(pin_memory=torch.accelerator.is_available()):
        return recompute(function, *inputs)


def _not_taken_part(model: PreTrainedModel, what: str) -> Diagnostic:
    message = f"`{type(model).__name__}` has no {what} that can be checkpointed"
    help = "use `activation_checkpointing: none`"
    return error("ZT803", "engine-differs", message, help=help, key="activation_checkpointing")
