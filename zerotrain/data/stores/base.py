"""What prepared samples are: arrays by index, and what is counted of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]

IGNORED = -100
"""The label that is not predicted."""


Arrays = dict[str, npt.NDArray[Any]]
"""Samples on top of each other, by the names the task knows; the first dimension of each array counts them."""


@dataclass(frozen=True)
class Counts:
    """What is in some samples."""

    targets: int
    """What the loss is averaged over: trained tokens, classified records, compared pairs."""
    tokens: int
    """Tokens that are not padding; 0 for images."""


class Samples(Protocol):
    """Prepared samples of any kind, read by index."""

    def __len__(self) -> int: ...

    def batch(self, indices: Int64s, draws: Int64s, rows: int) -> Arrays:
        """Returns the samples with these indices, and below them samples without a target up to `rows`.

        `draws` [indices] is a number for each sample that differs whenever it is consumed again, made of the run's
        seed and its place: whatever is random about a sample is a function of its draw.
        """
        ...

    def counts(self, indices: Int64s, draws: Int64s) -> Counts:
        """Returns what is in the samples: a look-up where it can be."""
        ...


class Store(Samples, Protocol):
    """Prepared samples in a directory of their own."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Returns the samples in a directory of the cache; DataError (ZT608) when it is damaged."""
        ...
