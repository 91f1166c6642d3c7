"""The order of samples."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerotrain.data.order import sample_indices


def epoch(number: int, *, size: int, seed: int = 1) -> npt.NDArray[np.int64]:
    return sample_indices(seed=seed, num_samples=size, start=number * size, count=size)


@given(size=st.integers(1, 3000), seed=st.integers(0, 2**80), number=st.integers(0, 2**20))
def test_every_epoch_has_every_sample_once(size: int, seed: int, number: int):
    assert np.array_equal(np.sort(epoch(number, size=size, seed=seed)), np.arange(size))


@pytest.mark.parametrize("size", [2**16, 2**16 + 1, 999_983, 10**6])
def test_large_epochs_have_every_sample_once(size: int):
    assert np.array_equal(np.bincount(epoch(3, size=size), minlength=size), np.ones(size))


@given(
    size=st.integers(1, 50),
    start=st.integers(0, 10**6),
    cuts=st.lists(st.integers(0, 200), max_size=5),
)
def test_any_split_of_a_range_gives_the_same_samples(size: int, start: int, cuts: list[int]):
    whole = sample_indices(seed=7, num_samples=size, start=start, count=200)
    bounds = [0, *sorted(cuts), 200]
    parts = [
        sample_indices(seed=7, num_samples=size, start=start + begin, count=end - begin)
        for begin, end in pairwise(bounds)
    ]

    assert np.array_equal(np.concatenate(parts), whole)


@given(size=st.integers(1, 2**48), start=st.integers(0, 2**50), seed=st.integers(0, 2**32))
@settings(max_examples=50)
def test_indices_are_in_range_at_any_size_and_place(size: int, start: int, seed: int):
    found = sample_indices(seed=seed, num_samples=size, start=start, count=64)

    assert found.dtype == np.int64
    assert found.min() >= 0
    assert found.max() < size


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [epoch(number, size=1000, seed=seed) for number in range(5) for seed in range(5)]

    assert len({order.tobytes() for order in orders}) == 25
    # Two independent permutations agree in about one place.
    assert max(int((a == b).sum()) for i, a in enumerate(orders) for b in orders[:i]) < 12


def test_an_order_never_changes_between_versions():
    assert epoch(0, size=12, seed=1234).tolist() == [4, 1, 7, 8, 5, 6, 0, 11, 9, 3, 10, 2]


def test_samples_are_well_mixed():
    size, seeds = 4001, range(40)
    orders = np.stack([epoch(0, size=size, seed=seed) for seed in seeds])
    places = np.arange(size)
    distances = np.abs(np.diff(orders, axis=1)).mean() / (size / 3)
    correlations = [np.corrcoef(places, order)[0, 1] * np.sqrt(size) for order in orders]
    counts = np.stack([np.histogram(order[:400], bins=10, range=(0, size))[0] for order in orders])

    assert abs(distances - 1) < 0.01
    assert np.abs(correlations).max() < 4.5
    assert np.std(correlations) < 1.4
    assert (orders == places).sum() < 80  # one fixed point is expected in each
    assert 5 < ((counts - 40) ** 2 / 40).sum(axis=1).mean() < 13  # chi-square with 9 degrees of freedom


def test_every_order_of_a_few_samples_is_equally_likely():
    count = 24_000
    orders = sample_indices(seed=3, num_samples=4, start=0, count=4 * count).reshape(count, 4)
    _, seen = np.unique(orders @ [64, 16, 4, 1], return_counts=True)

    assert len(seen) == 24
    assert ((seen - 1000) ** 2 / 1000).sum() < 60


def test_a_million_indices_of_a_huge_data_set_need_no_more_memory_than_themselves():
    tracemalloc.start()
    found = sample_indices(seed=1, num_samples=2**40 + 1, start=2**41 - 5, count=10**6)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(found) == 10**6
    assert peak < 20 * found.nbytes
