"""Documents packed into samples."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerotrain.data.stores.packing import (
    PACKINGS,
    SampleIndex,
    best_fit_decreasing,
    pack_concat,
    pack_isolated,
    pack_none,
)
from zerotrain.spec.data import Packing

inputs_of_documents = st.lists(st.integers(1, 60), min_size=1, max_size=40)


def documents(inputs: Sequence[int]) -> npt.NDArray[np.int64]:
    """Offsets of documents with so many inputs; each has an end-of-text token besides."""
    return np.concatenate(([0], np.cumsum(np.asarray(inputs, dtype=np.int64) + 1)))


def covered(index: SampleIndex) -> list[int]:
    """Positions in the token file that are an input somewhere, in order."""
    pairs = zip(index.starts.tolist(), index.lengths.tolist(), strict=True)
    return sorted(position for start, length in pairs for position in range(start, start + length))


def inputs_in(offsets: npt.NDArray[np.int64]) -> list[int]:
    """Positions in the token file that are not an end-of-text token."""
    return sorted(set(range(offsets[-1])) - set((offsets[1:] - 1).tolist()))


@given(inputs_of_documents, st.integers(1, 70))
def test_isolated_has_every_input_once_and_no_segment_leaves_its_document(inputs: list[int], seq_len: int):
    offsets = documents(inputs)
    index = pack_isolated(offsets, seq_len)

    assert covered(index) == inputs_in(offsets)
    first = np.searchsorted(offsets, index.starts, side="right")
    label = np.searchsorted(offsets, index.starts + index.lengths, side="right")
    assert np.array_equal(first, label)
    assert index.inputs.max() <= seq_len
    assert index.inputs.min() >= 1
    assert index.inputs.sum() == sum(inputs)


@given(inputs_of_documents, st.integers(1, 70))
def test_isolated_samples_are_in_the_order_of_their_first_text(inputs: list[int], seq_len: int):
    index = pack_isolated(documents(inputs), seq_len)
    first = index.starts[index.sample_offsets[:-1]]

    assert np.all(np.diff(first) > 0)
    for begin, end in zip(index.sample_offsets[:-1], index.sample_offsets[1:], strict=True):
        assert np.all(np.diff(index.starts[begin:end]) > 0)


@given(inputs_of_documents, st.integers(1, 70))
def test_none_has_every_input_once_and_one_segment_in_each_sample(inputs: list[int], seq_len: int):
    offsets = documents(inputs)
    index = pack_none(offsets, seq_len)

    assert covered(index) == inputs_in(offsets)
    assert np.array_equal(index.sample_offsets, np.arange(len(index.starts) + 1))
    assert index.lengths.max() <= seq_len


@given(inputs_of_documents, st.integers(1, 70))
def test_concat_has_every_token_once_up_to_the_last_full_sample(inputs: list[int], seq_len: int):
    stream = sum(inputs) + len(inputs) - 1
    index = pack_concat(documents(inputs), seq_len)

    full = stream // seq_len
    assert covered(index) == list(range(full * seq_len if full else stream))
    assert index.inputs.tolist() == [min(seq_len, stream)] * max(1, full)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=120), st.integers(30, 50))
def test_best_fit_decreasing_is_the_textbook_algorithm(lengths: list[int], capacity: int):
    bins, count = best_fit_decreasing(np.array(lengths), capacity)
    loads = np.bincount(bins, weights=lengths, minlength=count)

    assert sorted(loads) == sorted(textbook(lengths, capacity))
    assert loads.max() <= capacity


def textbook(lengths: list[int], capacity: int) -> list[int]:
    """Loads of the bins, one item at a time."""
    loads: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [load for load in loads if load + length <= capacity]
        if fitting:
            loads[loads.index(max(fitting))] += length
        else:
            loads.append(length)
    return loads


@pytest.mark.parametrize("capacity", [256, 2048, 131_072])
def test_a_million_chunks_are_packed_in_seconds_and_almost_without_waste(capacity: int):
    lengths = np.random.default_rng(1).integers(1, capacity + 1, 1_000_000)
    begin = time.process_time()
    _, count = best_fit_decreasing(lengths, capacity)

    assert time.process_time() - begin < 5
    assert lengths.sum() / (count * capacity) > 0.99


@pytest.mark.parametrize("packing", PACKINGS)
def test_the_same_documents_are_always_packed_the_same_way(packing: Packing):
    offsets = documents(np.random.default_rng(2).integers(1, 3000, 500).tolist())
    one, two = (PACKINGS[packing](offsets, 256) for _ in range(2))

    assert all(np.array_equal(vars(one)[name], vars(two)[name]) for name in vars(one))
    assert (one.starts.dtype, one.lengths.dtype, one.sample_offsets.dtype) == (np.int64, np.int32, np.int64)
