"""Speed and memory of a step."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Speed:
    """What MFU is computed from."""

    flops_per_token: float | None
    """Model FLOPs, forward and backward; None when the architecture is unknown."""
    peak_flops: float | None
    """Peak of one accelerator for the training dtype, per second; None when it has no published one."""
    world_size: int

    def mfu(self, tokens_per_second: float) -> float | None:
        """Returns the share of the accelerators' peak that the model's own FLOPs use."""
        if self.flops_per_token is None or self.peak_flops is None:
            return None
        return tokens_per_second * self.flops_per_token / (self.peak_flops * self.world_size)


class StepClock:
    """Seconds of a step: everything the loop does, its own logging too, but not evaluation and saving."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def restart(self) -> None:
        """Leaves out what has passed since the last lap."""
        self._start = time.perf_counter()

    def lap(self) -> float:
        """Returns the seconds since the last lap, and begins the next."""
        before, self._start = self._start, time.perf_counter()
        return self._start - before


def peak_bytes() -> int:
    """Returns the most memory this rank has held: on the GPU where there is one, else of the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
