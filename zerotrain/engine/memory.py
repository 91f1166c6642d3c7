"""Running out of memory: told from other failures, and where it happened."""

from __future__ import annotations

import traceback
from collections.abc import Mapping

import torch

from zerotrain.diagnostic import Diagnostic, error
from zerotrain.monitor.meters import peak_bytes
from zerotrain.units import format_bytes

_SIGNS = ("can't allocate memory", "out of memory")
"""What torch says on a CPU (c10/core/impl/alloc_cpu.cpp), and on GPUs in errors that are no OutOfMemoryError."""

_PLACES: Mapping[str, str] = {
    "build_engine": "while the engine was built",
    "save_checkpoint": "while a checkpoint was saved",
    "evaluate": "in the evaluation",
    "backward": "in the backward pass",
    "step": "in the optimizer's step",
    "loss": "in the forward pass",
}
"""Function on the way to a failure, and what it was about; the first that is found counts."""


def out_of_memory(failure: Exception, rank: int) -> Diagnostic | None:
    """Returns a finding when a rank has run out of memory, and None for any other failure."""
    if not isinstance(failure, torch.OutOfMemoryError | MemoryError) and not _says_so(failure):
        return None
    functions = {frame.name for frame in traceback.extract_tb(failure.__traceback__)}
    place = next((place for function, place in _PLACES.items() if function in functions), "before training")
    peak = f", at a peak of {format_bytes(peak)}" if (peak := peak_bytes()) else ""
    message = f"rank {rank} ran out of memory {place}{peak}"
    help = (
        "use a smaller `batch.micro_batch_size`, which `launch.on_oom: adapt` does by itself, "
        "`activation_checkpointing: full`, a higher `zero.stage`, or `tiling` for long sequences"
    )
    return error("ZT816", "out-of-memory", message, help=help, key="batch.micro_batch_size")


def _says_so(failure: Exception) -> bool:
    return isinstance(failure, RuntimeError) and any(sign in str(failure).lower() for sign in _SIGNS)
