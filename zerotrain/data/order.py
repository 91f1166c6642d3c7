"""The order of samples and what is random about them: pure functions of the seed and of how many were consumed."""

from __future__ import annotations

from hashlib import blake2b
from math import isqrt

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_ROUNDS = 16
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def sample_indices(*, seed: int | str, num_samples: int, start: int, count: int) -> Int64s:
    """Returns the indices of `count` samples from the consumed sample `start` on: int64 [count]."""
    return indices_of(np.arange(start, start + count), seed=seed, num_samples=num_samples)


def indices_of(consumed: Int64s, *, seed: int | str, num_samples: int) -> Int64s:
    """Returns the indices of the consumed samples with these numbers: int64, of the same shape.

    Consumed sample k is element k % num_samples of a pseudo-random permutation of range(num_samples), another one for
    every epoch k // num_samples. Nothing is stored or skipped over: time and memory go with `consumed` alone. The
    permutation is a Feistel network on pairs (a, b) with a x b just above num_samples (Black and Rogaway, "Ciphers
    with arbitrary finite domains", CT-RSA 2002); what falls outside walks on along its cycle until it is inside.
    """
    epochs, elements = np.divmod(consumed.astype(np.uint64), np.uint64(num_samples))
    keys = _mixed(epochs * _GOLDEN + np.uint64(_seed_word(seed)))
    return _permuted(elements, keys, num_samples).astype(np.int64)


def draws_of(seed: int, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns, for each number, one of 63 bits that looks random: a pure function of it and the seed."""
    words = _mixed(_mixed(numbers.astype(np.uint64) * _GOLDEN) ^ np.uint64(_seed_word(seed)))
    return (words >> np.uint64(1)).astype(np.int64)


def _permuted(elements: Words, keys: Words, size: int) -> Words:
    found = _network(elements, keys, size)
    while (outside := np.flatnonzero(found >= np.uint64(size))).size:
        found[outside] = _network(found[outside], keys[outside], size)
    return found


def _network(elements: Words, keys: Words, size: int) -> Words:
    """Returns a keyed permutation of range(a x b), the smallest such domain with |a - b| <= 1 that holds `size`."""
    side = isqrt(size - 1) + 1
    moduli = (np.uint64(side), np.uint64(-(-size // side)))
    halves = list(np.divmod(elements, moduli[1]))
    for turn in range(_ROUNDS):
        changed, other = turn % 2, 1 - turn % 2
        step = _mixed(_mixed(halves[other] + np.uint64(turn << 32)) ^ keys) % moduli[changed]
        halves[changed] = (halves[changed] + step) % moduli[changed]
    return halves[0] * moduli[1] + halves[1]


def _mixed(words: Words) -> Words:
    """Returns words whose every bit depends on every bit of the input (Steele et al., SplitMix64, OOPSLA 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _seed_word(seed: int | str) -> int:
    return int.from_bytes(blake2b(str(seed).encode(), digest_size=8).digest(), "big")
