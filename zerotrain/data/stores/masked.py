"""Pieces of documents between special tokens, some of whose tokens are hidden: what masked language models learn from.

What is hidden is no part of the store: it is drawn when a sample is read, so every epoch hides other tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from zerotrain.data.cache import Facts, Layer, Say, damaged, obtain, open_layer
from zerotrain.data.pretrained import TOKENIZER_FILE
from zerotrain.data.stores.base import IGNORED, Arrays, Counts, Int64s
from zerotrain.data.stores.masking import Masking, masking_of
from zerotrain.data.stores.packing import PACKINGS
from zerotrain.data.stores.tokens import DOCUMENTS_FILE, TOKENS_FILE, TOKENS_KIND
from zerotrain.data.tokenizer import TokenizerFacts
from zerotrain.errors import DataError
from zerotrain.spec.data import DataSpec
from zerotrain.spec.task import MaskedLmTask

KIND = "masked"
FRAME = 2
"""Special tokens around each piece: one before it, one behind it."""

_ARRAYS = ("starts", "lengths", "sample_offsets", "maskable", "special", "begins_word")
_MULTIPLE = 8
"""Samples are padded to a multiple of this, which the matrix units of GPUs like."""

Piece = tuple[Int64s, Int64s, Int64s]
"""Token ids, positions and segments of what is in a sample."""


class MaskedStore:
    """Prepared samples for a masked language model."""

    def __init__(self, path: Path, facts: Facts, tokens: Layer) -> None:
        self._facts = facts
        arrays: dict[str, npt.NDArray[Any]] = {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
        self._starts, self._lengths, self._offsets = (arrays[name] for name in _ARRAYS[:3])
        self._maskable: Int64s = arrays["maskable"]
        self._ends = np.concatenate(([0], np.cumsum(self._lengths, dtype=np.int64)))
        self._masking = Masking.of(facts["masking"], arrays["special"], arrays["begins_word"])
        self._tokens = np.asarray(np.memmap(tokens.path / TOKENS_FILE, tokens.facts["dtype"], mode="r"))

    @classmethod
    def open(cls, path: Path) -> MaskedStore:
        """Returns the samples in a directory of the cache; DataError (ZT608) when it is damaged."""
        layer = open_layer(path, KIND)
        tokens = open_layer(path.parent.parent / TOKENS_KIND / layer.facts["tokens_layer"], TOKENS_KIND)
        try:
            return cls(path, layer.facts, tokens)
        except (OSError, ValueError) as broken:
            raise DataError(damaged(path, f"its arrays cannot be read ({broken})")) from broken

    def __len__(self) -> int:
        return int(self._facts["samples"])

    def batch(self, indices: Int64s, draws: Int64s, rows: int) -> Arrays:
        """Returns `input_ids` and `labels` [rows, longest], the labels -100 where nothing is hidden.

        Of packed documents `segment_ids` and `position_ids` tell which document a token belongs to (-1: none) and
        where it stands in it; otherwise `attention_mask` tells tokens from padding.
        """
        pieces = [self._piece(int(index)) for index in indices]
        longest = max((len(ids) for ids, _, _ in pieces), default=1)
        width = min(-(-longest // _MULTIPLE) * _MULTIPLE, self._facts["seq_len"])
        inputs = np.full((rows, width), self._facts["pad_token_id"], np.int64)
        labels, segments = np.full((rows, width), IGNORED, np.int64), np.full((rows, width), -1, np.int64)
        positions = np.zeros((rows, width), np.int64)
        for row, ((ids, places, documents), draw) in enumerate(zip(pieces, draws, strict=True)):
            filled = slice(0, len(ids))
            inputs[row, filled], labels[row, filled] = self._masking.hide(ids, int(draw))
            positions[row, filled], segments[row, filled] = places, documents
        words = {"input_ids": inputs, "labels": labels}
        if self._facts["packing"] == "isolated":
            return words | {"segment_ids": segments, "position_ids": positions}
        mask = (segments >= 0).astype(np.int64)
        mask[:, 0] = 1  # so that the attention of an empty row has a sum
        return words | {"attention_mask": mask}

    def counts(self, indices: Int64s, draws: Int64s) -> Counts:
        """Returns the hidden tokens, a look-up unless whole words are hidden, and all that are not padding."""
        segments = self._offsets[indices + 1] - self._offsets[indices]
        lengths = self._ends[self._offsets[indices + 1]] - self._ends[self._offsets[indices]]
        tokens = int(lengths.sum() + FRAME * segments.sum())
        if not self._masking.whole_word:
            return Counts(int(self._masking.number(self._maskable[indices]).sum()), tokens)
        drawn = zip(indices, draws, strict=True)
        targets = sum(len(self._masking.choose(self._piece(int(index))[0], int(draw))) for index, draw in drawn)
        return Counts(targets, tokens)

    def _piece(self, index: int) -> Piece:
        cls, sep, eos = (self._facts[name] for name in ("cls_token_id", "sep_token_id", "eos_token_id"))
        ids: list[Int64s] = []
        for segment in range(self._offsets[index], self._offsets[index + 1]):
            text = self._tokens[self._starts[segment] :][: self._lengths[segment]].astype(np.int64)
            ids += [np.concatenate(([cls], np.where(text == eos, sep, text), [sep]))]
        places = [np.arange(len(part)) for part in ids]
        documents = [np.full(len(part), number) for number, part in enumerate(ids)]
        return np.concatenate(ids), np.concatenate(places), np.concatenate(documents)


def masked_layer(root: Path, data: DataSpec, task: MaskedLmTask, tokens: Layer, tokenizer: Layer, say: Say) -> Layer:
    """Returns the samples that `data.seq_len` and `data.packing` make of these tokens, each piece in its frame.

    Raises DataError: ZT672 when the tokenizer lacks a special token, ZT673 when it does not mark words that are to be
    hidden whole.
    """
    known, seq_len = TokenizerFacts(**tokenizer.facts), data.seq_len
    assert seq_len is not None, "a task on text without a length is refused before"
    vocabulary = Tokenizer.from_file(str(tokenizer.path / TOKENIZER_FILE))
    masking, special, begins_word = masking_of(task, vocabulary, known)
    settings = {"seq_len": seq_len, "packing": data.packing, "masking": masking}

    def build(folder: Path) -> Facts:
        index = PACKINGS[data.packing](np.load(tokens.path / DOCUMENTS_FILE), seq_len, FRAME)
        flat = np.asarray(np.memmap(tokens.path / TOKENS_FILE, tokens.facts["dtype"], mode="r"))
        maskable = _sums(~special[flat], index.starts, index.lengths, index.sample_offsets)
        arrays = (index.starts, index.lengths, index.sample_offsets, maskable, special, begins_word)
        for name, array in zip(_ARRAYS, arrays, strict=True):
            np.save(folder / f"{name}.npy", array)
        samples, filled = len(maskable), int(index.lengths.sum(dtype=np.int64)) + FRAME * len(index.lengths)
        say(f"packed {samples:,} samples of {seq_len} tokens, {filled / (samples * seq_len):.1%} full")
        ids = {name: getattr(known, name) for name in _IDS}
        numbers = {"samples": samples, "tokens": filled, "targets": int(maskable.sum() * task.mask_probability)}
        return {**numbers, **settings, **ids, "tokens_layer": tokens.name}

    return obtain(root, KIND, {"tokens": tokens.name, "tokenizer": tokenizer.name, **settings}, build, say)


_IDS = ("pad_token_id", "eos_token_id", "cls_token_id", "sep_token_id")


def _sums(flags: npt.NDArray[np.bool_], starts: Int64s, lengths: npt.NDArray[Any], offsets: Int64s) -> Int64s:
    """Returns [samples] the number of flags that are set in the segments of each sample."""
    before = np.concatenate(([0], np.cumsum(flags, dtype=np.int64)))
    segments = before[starts + lengths] - before[starts]
    return np.diff(np.concatenate(([0], np.cumsum(segments)))[offsets])
