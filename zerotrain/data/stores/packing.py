"""Documents as samples of a fixed length: which stretches of the token file make up each sample."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from zerotrain.spec.data import Packing

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SampleIndex:
    """The segments of every sample: stretches of inputs whose labels are the tokens that follow them."""

    starts: Int64s
    """[segments] Where a segment begins in the token file."""
    lengths: npt.NDArray[np.int32]
    """[segments] Its inputs."""
    sample_offsets: Int64s
    """[samples + 1] Sample i has the segments `sample_offsets[i] : sample_offsets[i + 1]`."""

    @property
    def inputs(self) -> npt.NDArray[np.int32]:
        """[samples] Inputs of each sample that are not padding."""
        ends = np.concatenate(([0], np.cumsum(self.lengths, dtype=np.int64)))[self.sample_offsets]
        return np.diff(ends).astype(np.int32)


def pack_isolated(documents: Int64s, seq_len: int, frame: int = 0) -> SampleIndex:
    """Returns samples of pieces of documents, each a segment of its own, put together by best-fit decreasing.

    Samples are in the order of the first text in them, so that the first samples are not the fullest ones. `frame` is
    the room that special tokens take around each piece.
    """
    starts, lengths = _chunks(documents, seq_len - frame)
    samples, count = best_fit_decreasing(lengths + frame, seq_len)
    _, first = np.unique(samples, return_index=True)
    rank = np.empty(count, np.int64)
    rank[np.argsort(first)] = np.arange(count)
    order = np.argsort(rank[samples], kind="stable")
    sizes = np.bincount(rank[samples], minlength=count)
    return SampleIndex(starts[order], lengths[order].astype(np.int32), np.concatenate(([0], np.cumsum(sizes))))


def pack_concat(documents: Int64s, seq_len: int, frame: int = 0) -> SampleIndex:
    """Returns the stream of all documents cut every `seq_len` inputs.

    The incomplete sample at the end is dropped, unless it is the only one. `frame` is the room that special tokens
    take in each sample.
    """
    seq_len -= frame
    inputs = int(documents[-1]) - 1
    count = max(1, inputs // seq_len)
    starts = np.arange(count, dtype=np.int64) * seq_len
    lengths = np.full(count, min(seq_len, inputs), np.int32)
    return SampleIndex(starts, lengths, np.arange(count + 1, dtype=np.int64))


def pack_none(documents: Int64s, seq_len: int, frame: int = 0) -> SampleIndex:
    """Returns every piece of a document in a sample of its own, with room for a frame of special tokens."""
    starts, lengths = _chunks(documents, seq_len - frame)
    return SampleIndex(starts, lengths.astype(np.int32), np.arange(len(starts) + 1, dtype=np.int64))


PACKINGS: Mapping[Packing, Callable[[Int64s, int, int], SampleIndex]] = {
    "isolated": pack_isolated,
    "concat": pack_concat,
    "none": pack_none,
}


def best_fit_decreasing(lengths: Int64s, capacity: int) -> tuple[Int64s, int]:
    """Returns the bin of each item, and the number of bins: the longest item first, each where least room is left over.

    Items of one length are placed together: the best bin for one of them stays the best until no other fits, so the
    time goes with the number of different (length, room) pairs, not with the number of items. Deterministic.
    `lengths` [items] are between 1 and `capacity`.
    """
    order = np.argsort(-lengths, kind="stable")
    bounds = np.flatnonzero(np.diff(lengths[order], prepend=-1, append=-1))
    bins = np.empty(len(lengths), np.int64)
    rooms = _Rooms(capacity)
    for begin, end in pairwise(bounds):
        bins[order[begin:end]] = rooms.place(int(lengths[order[begin]]), int(end - begin))
    return bins, rooms.bins


class _Rooms:
    """Bins by the room that is left in them."""

    def __init__(self, capacity: int) -> None:
        self.bins = 0
        self._capacity = capacity
        self._rooms: list[int] = []  # in order, those of `_stacks` that hold a bin
        self._stacks: dict[int, list[Int64s]] = {}

    def place(self, length: int, count: int) -> Int64s:
        """Returns the bins of `count` items of one length."""
        placed: list[Int64s] = []
        while count:
            room = self._best(length)
            each = room // length
            taken = self._take(room, -(-count // each))
            share = min(count, each * len(taken))
            placed.append(np.repeat(taken, each)[:share])
            full, rest = divmod(share, each)
            self._put(room - each * length, taken[:full])
            self._put(room - rest * length, taken[full:])
            count -= share
        return np.concatenate(placed)

    def _best(self, length: int) -> int:
        position = bisect_left(self._rooms, length)
        return self._rooms[position] if position < len(self._rooms) else self._capacity

    def _take(self, room: int, wanted: int) -> Int64s:
        """Returns at most `wanted` bins with exactly this room; new ones when there are none."""
        stack = self._stacks.get(room)
        if not stack:
            self.bins += wanted
            return np.arange(self.bins - wanted, self.bins, dtype=np.int64)
        taken = stack.pop()
        if len(taken) > wanted:
            stack.append(taken[wanted:])
            taken = taken[:wanted]
        if not stack:
            del self._rooms[bisect_left(self._rooms, room)]
        return taken

    def _put(self, room: int, bins: Int64s) -> None:
        if not room or not len(bins):
            return
        stack = self._stacks.setdefault(room, [])
        if not stack:
            insort(self._rooms, room)
        stack.append(bins)


def _chunks(documents: Int64s, seq_len: int) -> tuple[Int64s, Int64s]:
    """Returns starts and lengths of every document cut into pieces of at most `seq_len` inputs.

    The last token of a document is an end-of-text token, which is a label and never an input.
    """
    inputs = np.diff(documents) - 1
    counts = -(-inputs // seq_len)
    first = np.cumsum(counts) - counts
    offsets = (np.arange(int(counts.sum()), dtype=np.int64) - np.repeat(first, counts)) * seq_len
    starts = np.repeat(documents[:-1], counts) + offsets
    return starts, np.minimum(np.repeat(inputs, counts) - offsets, seq_len)
