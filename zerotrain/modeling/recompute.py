"""Activation checkpointing: recompute instead of keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import deepspeed
from deepspeed.runtime.activation_checkpointing import checkpointing
from transformers import PreTrainedModel

from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import EngineError
from zerotrain.spec.parallelism import ActivationCheckpointingSpec


def enable_recompute(model: PreTrainedModel, chosen: ActivationCheckpointingSpec, ds_config: Mapping[str, Any]) -> None:
    """Switches activation checkpointing on as the spec asks, and makes sure that it is.

    The engine never applies its `activation_checkpointing` section by itself (no reader besides
    `deepspeed.checkpointing.configure`, DeepSpeed 0.19.8), so it is applied here. Raises EngineError when the
    architecture has no layer that takes part.
    """
    if chosen.granularity == "none":
        return
    if not model.supports_gradient_checkpointing:
        raise EngineError(_not_taken_part(model))
    if chosen.implementation == "torch":
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    else:
        deepspeed.checkpointing.configure(None, deepspeed_config=dict(ds_config))
        # DeepSpeed's checkpointing gives no gradient to a layer whose inputs need none, as behind frozen embeddings.
        model.enable_input_require_grads()
        model._set_gradient_checkpointing(enable=True, gradient_checkpointing_func=checkpointing.checkpoint)
    if not any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
        raise EngineError(_not_taken_part(model))


def _not_taken_part(model: PreTrainedModel) -> Diagnostic:
    message = f"`{type(model).__name__}` has no layer that can be checkpointed"
    help = "use `activation_checkpointing: none`"
    return error("ZT803", "engine-differs", message, help=help, key="activation_checkpointing")
