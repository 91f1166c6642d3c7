"""Samples by index, straight from memory-mapped files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zerotrain.data.cache import Facts, Layer, Say, damaged, obtain, open_layer
from zerotrain.data.stores.base import IGNORED, Arrays, Counts
from zerotrain.data.stores.packing import PACKINGS, Int64s, SampleIndex
from zerotrain.data.stores.tokens import DOCUMENTS_FILE, TOKENS_FILE, TOKENS_KIND, TRAINED_FILE
from zerotrain.data.tokenizer import TokenizerFacts
from zerotrain.errors import DataError
from zerotrain.spec.data import DataSpec

KIND = "samples"

_ARRAYS = ("starts", "lengths", "sample_offsets", "inputs", "trained")


@dataclass(frozen=True)
class Sample:
    """One sample, or several on top of each other: int64 arrays [seq_len] or [samples, seq_len]."""

    input_ids: Int64s
    labels: Int64s
    """The token to predict at each input; -100 at padding, and where nothing is trained."""
    position_ids: Int64s
    """Counted from 0 in each segment, and in the padding."""
    segment_ids: Int64s
    """Counted from 0 in each sample; -1 at padding."""


class SampleStore:
    """Prepared samples. Opening reads one small file, whatever the size of the data."""

    def __init__(self, path: Path, facts: Facts, tokens: Layer) -> None:
        self.path = path
        self.seq_len: int = facts["seq_len"]
        self.pad_token_id: int = facts["pad_token_id"]
        self._samples: int = facts["samples"]
        self._starts, self._lengths, self._offsets, self._inputs, self._trained = (
            _array(path, name) for name in _ARRAYS
        )
        self._tokens = np.asarray(np.memmap(tokens.path / TOKENS_FILE, tokens.facts["dtype"], mode="r"))
        self._is_trained = trained_tokens(tokens)

    @classmethod
    def open(cls, path: Path) -> SampleStore:
        """Returns the store in a directory that `prepare` returned.

        Raises DataError (ZT608) when a file of it is missing or has the wrong size.
        """
        layer = open_layer(path, KIND)
        tokens = open_layer(path.parent.parent / TOKENS_KIND / layer.facts["tokens_layer"], TOKENS_KIND)
        try:
            return cls(path, layer.facts, tokens)
        except (OSError, ValueError) as broken:
            raise DataError(damaged(path, f"its arrays cannot be read ({broken})")) from broken

    def __len__(self) -> int:
        return self._samples

    def sample(self, index: int) -> Sample:
        """Returns sample `index`; IndexError when there is none."""
        stacked = self.samples(np.array([index]))
        return Sample(stacked.input_ids[0], stacked.labels[0], stacked.position_ids[0], stacked.segment_ids[0])

    def samples(self, indices: npt.ArrayLike, *, rows: int | None = None) -> Sample:
        """Returns the samples with these indices on top of each other, and padding in what is left of `rows`.

        Raises IndexError when an index is not between 0 and the number of samples.
        """
        chosen = self._checked(indices)
        blank = self._blank(len(chosen) if rows is None else rows)
        first = self._offsets[chosen]
        counts = self._offsets[chosen + 1] - first
        segments = ranges(first, counts)
        lengths = self._lengths[segments].astype(np.int64)
        filled = self._inputs[chosen].astype(np.int64)
        within = ranges(np.zeros_like(lengths), lengths)
        cells = ranges(np.arange(len(chosen)) * self.seq_len, filled)
        source = np.repeat(self._starts[segments], lengths) + within
        blank.input_ids.reshape(-1)[cells] = self._tokens[source]
        blank.labels.reshape(-1)[cells] = self._predicted(source + 1)
        blank.segment_ids.reshape(-1)[cells] = np.repeat(ranges(np.zeros_like(counts), counts), lengths)
        blank.position_ids[: len(chosen)] -= filled[:, None]
        blank.position_ids.reshape(-1)[cells] = within
        return blank

    def batch(self, indices: Int64s, draws: Int64s, rows: int) -> Arrays:
        """Returns the arrays of `samples` by their names."""
        return vars(self.samples(indices, rows=rows))

    def counts(self, indices: Int64s, draws: Int64s) -> Counts:
        """Returns how many tokens of these samples are trained, and how many there are: a look-up."""
        chosen = self._checked(indices)
        return Counts(*(int(sizes[chosen].sum(dtype=np.int64)) for sizes in (self._trained, self._inputs)))

    def _predicted(self, places: Int64s) -> Int64s:
        tokens = self._tokens[places].astype(np.int64)
        return tokens if self._is_trained is None else np.where(self._is_trained[places], tokens, IGNORED)

    def _checked(self, indices: npt.ArrayLike) -> Int64s:
        chosen = np.asarray(indices, dtype=np.int64)
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < self._samples):
            raise IndexError(f"samples {chosen.min()} to {chosen.max()} of a store of {self._samples}")
        return chosen

    def _blank(self, rows: int) -> Sample:
        shape = (rows, self.seq_len)
        positions = np.tile(np.arange(self.seq_len, dtype=np.int64), (rows, 1))
        inputs, labels, segments = (np.full(shape, value, np.int64) for value in (self.pad_token_id, IGNORED, -1))
        return Sample(inputs, labels, positions, segments)


def trained_tokens(tokens: Layer) -> npt.NDArray[np.bool_] | None:
    """Returns which tokens of a layer are trained; None for all."""
    if not tokens.facts.get("masked"):
        return None
    return np.asarray(np.memmap(tokens.path / TRAINED_FILE, np.bool_, mode="r"))


def samples_layer(root: Path, data: DataSpec, tokens: Layer, tokenizer: TokenizerFacts, say: Say) -> Layer:
    """Returns the index of the samples that `data.seq_len` and `data.packing` make of these tokens."""
    assert data.seq_len is not None, "a task on text without a length is refused before"
    seq_len = data.seq_len
    key = {"tokens": tokens.name, "seq_len": seq_len, "packing": data.packing, "pad": tokenizer.pad_token_id}
    key |= {"arrays": _ARRAYS}

    def build(folder: Path) -> Facts:
        documents = np.load(tokens.path / DOCUMENTS_FILE)
        index = PACKINGS[data.packing](documents, seq_len, 0)
        trained = _trained(index, trained_tokens(tokens))
        for name in _ARRAYS[:-1]:
            np.save(folder / f"{name}.npy", getattr(index, name))
        np.save(folder / f"{_ARRAYS[-1]}.npy", trained)
        samples, inputs = len(index.sample_offsets) - 1, int(index.lengths.sum(dtype=np.int64))
        fill = inputs / (samples * seq_len)
        say(f"packed {samples:,} samples of {seq_len} tokens, {fill:.1%} full")
        return {
            "samples": samples,
            "targets": int(trained.sum(dtype=np.int64)),
            "tokens": inputs,
            "seq_len": seq_len,
            "packing": data.packing,
            "pad_token_id": tokenizer.pad_token_id,
            "tokens_layer": tokens.name,
            "skipped": tokens.facts.get("skipped", 0),
        }

    return obtain(root, KIND, key, build, say)


def _trained(index: SampleIndex, is_trained: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.int32]:
    """Returns [samples] the tokens that each sample predicts."""
    if is_trained is None:
        return index.inputs
    before = np.concatenate(([0], np.cumsum(is_trained, dtype=np.int64)))
    labels = index.starts + 1
    of_segments = np.concatenate(([0], np.cumsum(before[labels + index.lengths] - before[labels])))
    return np.diff(of_segments[index.sample_offsets]).astype(np.int32)


def _array(path: Path, name: str) -> npt.NDArray[Any]:
    return np.asarray(np.load(path / f"{name}.npy", mmap_mode="r"))


def ranges(starts: Int64s, counts: Int64s) -> Int64s:
    """Returns, for each i in turn, `counts[i]` numbers from `starts[i]` on."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0, dtype=np.int64) + np.repeat(starts - (ends - counts), counts)
