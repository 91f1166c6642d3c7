"""What a run is asked to do from outside while it trains: touch files in its directory, and limits of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import IntFlag
from pathlib import Path

from zerotrain.runs.attempts import attempts
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.limits import hours_of, reason_to_end
from zerotrain.spec.run import LimitsSpec

_SECONDS_BETWEEN_LOOKS = 1.0


class Asked(IntFlag):
    """What is asked for; rank 0 looks, and all ranks are told."""

    NOTHING = 0
    SAVE = 1
    STOP = 2
    END = 4


class Orders:
    """Looks for orders now and then; on other ranks than 0 there are none to be found."""

    def __init__(self, run: RunDirectory, limits: LimitsSpec, *, is_first: bool) -> None:
        self._run, self._limits, self._is_first = run, limits, is_first
        self._looked = 0.0
        self._clock = _spent(run, limits) if is_first and (limits.hours or limits.gpu_hours) else None

    def look(self) -> Asked:
        """Returns what is asked for, once; a touch file is removed as it is seen."""
        now = time.monotonic()
        if not self._is_first or now - self._looked < _SECONDS_BETWEEN_LOOKS:
            return Asked.NOTHING
        self._looked = now
        asked = Asked.SAVE if _take(self._run.save_order) else Asked.NOTHING
        asked |= Asked.STOP if _take(self._run.stop_order) else Asked.NOTHING
        return asked | (Asked.END if self.reason_to_end() else Asked.NOTHING)

    def reason_to_end(self) -> str | None:
        """Returns which limit is reached, as rank 0 knows."""
        return reason_to_end(self._limits, *self._clock()) if self._clock else None


def _spent(run: RunDirectory, limits: LimitsSpec) -> Callable[[], tuple[float, float]]:
    """Returns what tells the hours of the run and of its ranks, without reading the run's files each time."""
    tried, start = attempts(run), time.time()
    hours, gpu_hours = hours_of(run, tried, start)
    ranks = tried[-1].world_size if tried else 1

    def now() -> tuple[float, float]:
        more = (time.time() - start) / 3600
        return hours + more, gpu_hours + more * ranks

    return now


def _take(file: Path) -> bool:
    """Removes a file; tells whether it was there."""
    try:
        file.unlink()
    except OSError:
        return False
    return True
