"""The state of fp16's loss scaler, whatever DeepSpeed optimizer holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepspeed import DeepSpeedEngine

_NUMBERS = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")
"""What changes while training, by DeepSpeed's names (runtime/fp16/loss_scaler.py); stage 0 has no hysteresis."""


def scaler_state(engine: DeepSpeedEngine) -> dict[str, float]:
    """Returns the numbers of the loss scaler; empty when the run has none."""
    scaler = _scaler(engine)
    return {name: getattr(scaler, name) for name in _NUMBERS if getattr(scaler, name, None) is not None}


def restore_scaler(engine: DeepSpeedEngine, state: Mapping[str, float]) -> None:
    """Gives the loss scaler the numbers it had; those it does not know are left out."""
    scaler = _scaler(engine)
    for name, value in state.items():
        if hasattr(scaler, name):
            setattr(scaler, name, value)


def _scaler(engine: DeepSpeedEngine) -> Any:
    if not engine.fp16_enabled():
        return None
    optimizer: Any = engine.optimizer
    return optimizer.loss_scaler if engine.zero_optimization() else optimizer.loss_scale_config
