"""Reading the files of a checkpoint without running what is in them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from deepspeed import DeepSpeedEngine
from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
from deepspeed.runtime.zero.config import ZeroStageEnum
from deepspeed.utils.tensor_fragment import fragment_address
from torch.serialization import safe_globals

from zerotrain.diagnostic import error
from zerotrain.errors import CheckpointError

_KNOWN: list[Any] = [dict, LossScaler, DynamicLossScaler, ZeroStageEnum, fragment_address]
"""Classes that DeepSpeed 0.19.8 stores besides tensors and plain values."""


def read_states(file: str | Path, *, mmap: bool = True) -> Any:
    """Returns what is in a file, in host memory; with `mmap` tensors are read when they are used.

    Raises CheckpointError when the file would run code: a pickle may name any function.
    """
    try:
        with safe_globals(_KNOWN):
            return torch.load(file, map_location="cpu", mmap=mmap, weights_only=True)
    except UnpicklingError as refused:
        reason = str(refused).partition("\n")[0]
        message = f"`{file}` holds more than tensors and plain values: {reason}"
        help = "take it for an attack, or for damage, and delete it; `resume` then takes the one before"
        raise CheckpointError(error("ZT720", "untrusted-checkpoint", message, help=help)) from None


@contextmanager
def reading_safely(engine: DeepSpeedEngine) -> Generator[None]:
    """Lets DeepSpeed read checkpoints in the same way; its own unpickles whatever is there."""
    reader: Any = engine.checkpoint_engine

    def load(path: str, *_: Any, **__: Any) -> Any:
        return read_states(path, mmap=False)

    reader.load = load
    try:
        yield
    finally:
        del reader.load
