"""Speed and memory of a step."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

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


class LoadingClock:
    """Seconds that this rank has spent on reading batches; tells `read` of each."""

    def __init__(self, read: Callable[[], None] = lambda: None) -> None:
        self._read, self._seconds, self._start = read, 0.0, 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._seconds += time.perf_counter() - self._start
        self._read()

    def take(self) -> float:
        """Returns the seconds since the last time this was called."""
        taken, self._seconds = self._seconds, 0.0
        return taken


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
