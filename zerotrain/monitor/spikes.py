"""Leaps of the loss."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from zerotrain.spec.health import LossSpikeSpec

_NORMAL = 1.4826
"""Standard deviation of normally distributed numbers over their median absolute deviation."""

_SMALLEST_DEVIATION = 0.01
"""Of the median: a curve that is as smooth as glass still moves by that much."""


@dataclass(frozen=True)
class Spike:
    """A loss that is far above the others."""

    loss: float
    median: float
    """Of the losses before."""
    deviations: float
    """How many standard deviations above it."""

    def __str__(self) -> str:
        return f"the loss leapt to {self.loss:.4g}, {self.deviations:.1f} deviations above {self.median:.4g}"


class SpikeDetector:
    """Compares each loss with the median of those before, which a few spikes among them do not move."""

    def __init__(self, spec: LossSpikeSpec, before: Iterable[float] = ()) -> None:
        self._spec = spec
        self._losses = deque(before, maxlen=spec.window)

    def look(self, loss: float) -> Spike | None:
        """Returns the spike if the loss is one; a loss that is none is among those the next are compared with."""
        spike = self._compare(loss)
        if spike is None:
            self._losses.append(loss)
        return spike

    def _compare(self, loss: float) -> Spike | None:
        if 2 * len(self._losses) < self._spec.window:
            return None
        middle = median(self._losses)
        spread = _NORMAL * median(abs(known - middle) for known in self._losses)
        deviations = (loss - middle) / max(spread, _SMALLEST_DEVIATION * abs(middle), 1e-12)
        return Spike(loss, middle, deviations) if deviations > self._spec.deviations else None
