"""The model inside an engine."""

from __future__ import annotations

from typing import Any

from deepspeed import DeepSpeedEngine
from torch import nn


def module_of(model: DeepSpeedEngine | nn.Module) -> Any:
    """Returns the model that an engine trains; a model alone is itself. A transformers model, to those who know."""
    return model.module if isinstance(model, DeepSpeedEngine) else model
