"""Whether two runs have learned the same, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

MEASURES = ("loss", "grad_norm")


@dataclass(frozen=True)
class Step:
    """One optimizer step of both runs."""

    number: int
    plain: Mapping[str, float]
    """Value on one plain rank, by measure; a measure that one of the runs has not is left out."""
    other: Mapping[str, float]
    """Value in the layout that is compared with it."""

    def difference(self, measure: str) -> float:
        """Returns by how much the layout differs, relative to the plain value; infinite if either is no number."""
        plain, other = self.plain[measure], self.other[measure]
        if not (isfinite(plain) and isfinite(other)):
            return inf
        return abs(other - plain) / abs(plain) if plain else abs(other)


def compared(plain: Mapping[int, Mapping[str, Any]], other: Mapping[int, Mapping[str, Any]]) -> list[Step]:
    """Returns the steps that both curves have."""
    return [_step(number, plain[number], other[number]) for number in sorted(plain.keys() & other.keys())]


def largest(steps: list[Step], measure: str) -> float:
    """Returns the largest difference of a measure; 0 where no step has it."""
    return max((step.difference(measure) for step in steps if measure in step.plain), default=0.0)


def _step(number: int, plain: Mapping[str, Any], other: Mapping[str, Any]) -> Step:
    both = [name for name in MEASURES if plain.get(name) is not None and other.get(name) is not None]
    return Step(number, {name: plain[name] for name in both}, {name: other[name] for name in both})
