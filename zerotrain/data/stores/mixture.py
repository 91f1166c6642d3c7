"""Prepared samples of several sources, each taken as often as its weight says."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd, lcm
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zerotrain.data.cache import Facts, Layer, Say, obtain
from zerotrain.data.order import indices_of, sample_indices
from zerotrain.data.stores.base import Arrays, Counts, Int64s, Samples

KIND = "mixture"

_LARGEST_BLOCK = 1000


class MixtureStore:
    """The samples of several stores, one store after the other, and an order that keeps to their weights."""

    def __init__(self, parts: Sequence[Samples], weights: Sequence[float] | None) -> None:
        self.parts = parts
        self._sizes = [len(part) for part in parts]
        self._offsets = np.concatenate(([0], np.cumsum(self._sizes)))
        self._quotas = np.array(quotas(weights)) if weights else None

    def __len__(self) -> int:
        return int(self._offsets[-1])

    def indices(self, *, seed: int, start: int, count: int) -> Int64s:
        """Returns the indices of `count` samples from the consumed sample `start` on: int64 [count].

        Consumed samples come in blocks with a fixed number of places for each source, in another order in every block.
        Each source has its own permutation for each of its own epochs. All of it is a function of the seed and of the
        number of the consumed sample, so that any step is reached at once.
        """
        if self._quotas is None:
            return sample_indices(seed=seed, num_samples=len(self), start=start, count=count)
        ends = np.cumsum(self._quotas)
        consumed = np.arange(start, start + count, dtype=np.int64)
        places = indices_of(consumed, seed=f"{seed} places", num_samples=int(ends[-1]))
        owners = np.searchsorted(ends, places, side="right")
        taken = consumed // ends[-1] * self._quotas[owners] + places - (ends - self._quotas)[owners]
        found = np.empty(count, np.int64)
        for source, size in enumerate(self._sizes):
            own = np.flatnonzero(owners == source)
            found[own] = indices_of(taken[own], seed=f"{seed} source {source}", num_samples=size)
        return found + self._offsets[owners]

    def batch(self, indices: Int64s, draws: Int64s, rows: int) -> Arrays:
        """Returns the samples of each store on top of each other, in the order of the indices.

        Where one store's rows are wider than another's, the narrow ones end as a row without a sample does.
        """
        pieces = [
            (own, self.parts[part].batch(indices[own] - self._offsets[part], draws[own], len(own) + 1))
            for part, own in self._owned(indices)
        ]
        return {name: _joined([(own, arrays[name]) for own, arrays in pieces], rows) for name in pieces[0][1]}

    def counts(self, indices: Int64s, draws: Int64s) -> Counts:
        """Returns the sum of what each store counts."""
        owned = self._owned(indices)
        found = [self.parts[part].counts(indices[own] - self._offsets[part], draws[own]) for part, own in owned]
        return Counts(sum(each.targets for each in found), sum(each.tokens for each in found))

    def _owned(self, indices: Int64s) -> list[tuple[int, Int64s]]:
        """Returns each store that has some of the samples, with their places; the first one if there is no sample."""
        owners = np.searchsorted(self._offsets, indices, side="right") - 1
        return [(int(part), np.flatnonzero(owners == part)) for part in (np.unique(owners) if len(owners) else [0])]


def quotas(weights: Sequence[float]) -> list[int]:
    """Returns the places of each source in a block: exactly the weights, where a block of 1,000 places can hold them.

    Otherwise a block has 1,000 places, dealt out by largest remainders, with at least one for each source.
    """
    exact = [Fraction(str(weight)) for weight in weights]
    scale = lcm(*(weight.denominator for weight in exact))
    whole = [int(weight * scale) for weight in exact]
    whole = [number // gcd(*whole) for number in whole]
    if sum(whole) <= _LARGEST_BLOCK:
        return whole
    shares = [Fraction(number * _LARGEST_BLOCK, sum(whole)) for number in whole]
    places = [max(1, int(share)) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda source: places[source] - shares[source])
    for source in by_remainder[: max(0, _LARGEST_BLOCK - sum(places))]:
        places[source] += 1
    return places


def mixture_layer(root: Path, parts: Sequence[Layer], weights: Sequence[float] | None, say: Say) -> Layer:
    """Returns the mixture of these layers.

    Its `samples` are those of all; its `tokens` and `targets` are what as many samples have on average when they are
    taken by weight.
    """
    names = [f"{part.path.parent.name}/{part.name}" for part in parts]

    def build(folder: Path) -> Facts:
        samples = [part.facts["samples"] for part in parts]
        places = quotas(weights) if weights else samples
        sizes = {name: _expected(parts, places, name) for name in ("targets", "tokens")}
        return {"samples": sum(samples), **sizes, "parts": names, "weights": weights}

    return obtain(root, KIND, {"parts": names, "weights": weights}, build, say)


def _expected(parts: Sequence[Layer], places: Sequence[int], name: str) -> int:
    samples = [part.facts["samples"] for part in parts]
    averages = [Fraction(part.facts[name], count) for part, count in zip(parts, samples, strict=True)]
    weighted = sum(average * place for average, place in zip(averages, places, strict=True))
    return round(sum(samples) * weighted / sum(places))


def _joined(pieces: Sequence[tuple[Int64s, npt.NDArray[Any]]], rows: int) -> npt.NDArray[Any]:
    blank = pieces[0][1][-1]
    inner = tuple(np.max([array.shape[1:] for _, array in pieces], axis=0).astype(int))
    joined = np.empty((rows, *inner), pieces[0][1].dtype)
    joined[:] = _widened(pieces[0][1][-1:], inner, blank)
    for own, array in pieces:
        joined[own] = _widened(array[:-1], inner, blank)
    return joined


def _widened(array: npt.NDArray[Any], inner: tuple[int, ...], blank: npt.NDArray[Any]) -> npt.NDArray[Any]:
    more = [(0, wanted - there) for wanted, there in zip(inner, array.shape[1:], strict=True)]
    return np.pad(array, [(0, 0), *more], constant_values=blank.ravel()[-1]) if any(last for _, last in more) else array
