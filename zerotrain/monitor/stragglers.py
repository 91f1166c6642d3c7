"""Ranks that are slower than the others.

All ranks wait for the slowest in every collective operation, so that their steps take equally long; what differs is how
long each takes for what it does alone: to read its data, and to compute something that is the same on all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median_low

from zerotrain.spec.health import StragglerSpec

_CHORES = ("to read its data", "to compute the same as all")
_SHORTEST = 1e-3
"""Seconds: what is faster than that delays nobody."""


@dataclass(frozen=True)
class Slow:
    """A rank that was much slower than the others, several times in a row."""

    rank: int
    seconds: float
    median: float
    """Of all ranks, in seconds; of two ranks the faster one."""
    chore: str

    def __str__(self) -> str:
        times = self.seconds / self.median
        return f"rank {self.rank} takes {times:.1f} times as long as most ranks {self.chore}: {self.seconds:.3g} s"


@dataclass
class Stragglers:
    """Remembers which ranks were slow the last times."""

    spec: StragglerSpec
    _in_a_row: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int], init=False)

    def look(self, seconds: Sequence[Sequence[float]]) -> list[Slow]:
        """Returns the ranks that have just become slow too often; `seconds` has a pair for each rank, by chore."""
        found: list[Slow] = []
        for chore, name in enumerate(_CHORES):
            taken = [own[chore] for own in seconds]
            usual = max(median_low(taken), _SHORTEST)
            slow = {rank for rank, own in enumerate(taken) if own > self.spec.factor * usual}
            for rank in range(len(taken)):
                count = self._in_a_row.get((rank, chore), 0) + 1 if rank in slow else 0
                self._in_a_row[rank, chore] = count
                if count == self.spec.patience:
                    found.append(Slow(rank, taken[rank], usual, name))
        return found
