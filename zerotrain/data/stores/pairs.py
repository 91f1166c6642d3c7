"""Pairs of sequences that begin with the same prompt, padded to the longest of a micro-batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from zerotrain.data.cache import Facts, Layer, damaged, open_layer
from zerotrain.data.corpus import Example
from zerotrain.data.forms.base import Preparation
from zerotrain.data.stores.answers import Dialogue, Treatment, answers_layer
from zerotrain.data.stores.base import IGNORED, Arrays, Counts, Int64s
from zerotrain.data.stores.tokens import DOCUMENTS_FILE, TOKENS_FILE, TRAINED_FILE
from zerotrain.errors import DataError

KIND = "pairs"

_MULTIPLE = 8
"""Sequences are padded to a multiple of this, which the matrix units of GPUs like."""


class PairStore:
    """Prepared pairs: the chosen sequence of sample i is document 2i, the rejected one document 2i + 1."""

    def __init__(self, path: Path, facts: Facts) -> None:
        self._pad: int = facts["pad_token_id"]
        self._documents: Int64s = np.load(path / DOCUMENTS_FILE, mmap_mode="r")
        self._tokens = np.asarray(np.memmap(path / TOKENS_FILE, facts["dtype"], mode="r"))
        self._is_trained = np.asarray(np.memmap(path / TRAINED_FILE, np.bool_, mode="r"))

    @classmethod
    def open(cls, path: Path) -> PairStore:
        """Returns the pairs in a directory of the cache; DataError (ZT608) when it is damaged."""
        layer = open_layer(path, KIND)
        try:
            return cls(path, layer.facts)
        except (OSError, ValueError) as broken:
            raise DataError(damaged(path, f"its arrays cannot be read ({broken})")) from broken

    def __len__(self) -> int:
        return (len(self._documents) - 1) // 2

    def batch(self, indices: Int64s, draws: Int64s, rows: int) -> Arrays:
        """Returns `input_ids`, `attention_mask` and `labels` [rows, 2, longest], and `sample` [rows].

        The first of two is the chosen one. A label is the token to predict at an input, -100 where that is not part of
        an answer; `sample` is the index of the sample. A row without a sample has -1 there, one token to look at, so
        that its attention has a sum, and no label.
        """
        spans = [[self._span(2 * index + side) for side in (0, 1)] for index in indices]
        longest = max((span.stop - span.start for pair in spans for span in pair), default=1)
        shape = (rows, 2, -(-longest // _MULTIPLE) * _MULTIPLE)
        ids, labels = np.full(shape, self._pad, np.int64), np.full(shape, IGNORED, np.int64)
        mask, sample = np.zeros(shape, np.int64), np.full(rows, -1, np.int64)
        mask[:, :, 0] = 1
        for row, pair in enumerate(spans):
            for side, span in enumerate(pair):
                length, tokens = span.stop - span.start, self._tokens[span].astype(np.int64)
                ids[row, side, :length], mask[row, side, :length] = tokens, 1
                labels[row, side, : length - 1] = np.where(self._is_trained[span][1:], tokens[1:], IGNORED)
        sample[: len(indices)] = indices
        return {"input_ids": ids, "attention_mask": mask, "labels": labels, "sample": sample}

    def counts(self, indices: Int64s, draws: Int64s) -> Counts:
        """Returns one target for each pair, and the tokens of both sequences of all."""
        ends = np.asarray(indices, np.int64) * 2
        return Counts(len(ends), int((self._documents[ends + 2] - self._documents[ends]).sum()))

    def _span(self, document: int) -> slice:
        return slice(*self._documents[document : document + 2])


def pairs_layer(
    preparation: Preparation, dialogues_of: Callable[[Example], Sequence[Dialogue]], treatment: Treatment
) -> Layer:
    """Returns the pairs of a corpus; raises what `answers_layer` raises."""
    facts = {"pad_token_id": preparation.tokenizer_facts.pad_token_id}
    layer = answers_layer(preparation, KIND, dialogues_of, treatment, facts)
    records = layer.facts["records"]
    return Layer(layer.path, {**layer.facts, "samples": records, "targets": records})
