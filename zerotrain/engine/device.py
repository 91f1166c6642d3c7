"""The accelerator as DeepSpeed sees it, and its engine's parts as our types."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from deepspeed import DeepSpeedEngine
from deepspeed.accelerator import get_accelerator


def accelerator() -> Any:
    """Returns DeepSpeed's accelerator."""
    return get_accelerator()


def on_cpu() -> bool:
    """Returns True when the ranks train on processors."""
    return accelerator().device_name() == "cpu"


def device_of(engine: DeepSpeedEngine) -> torch.device:
    """Returns the device of a rank."""
    return torch.device(engine.device or "cpu")


def groups_of(engine: DeepSpeedEngine) -> list[dict[str, Any]]:
    """Returns the optimizer's parameter groups, whose learning rates are in force."""
    optimizer: Any = engine.optimizer
    return optimizer.param_groups


@contextmanager
def evaluating(engine: DeepSpeedEngine) -> Generator[None]:
    """Lets the model compute without dropout for a while."""
    engine.eval()
    try:
        yield
    finally:
        engine.train()
