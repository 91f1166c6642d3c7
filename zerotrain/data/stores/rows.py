"""Texts with a class each, one to a row, padded to the longest of a micro-batch."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from zerotrain.data.cache import Facts, Layer, obtain, open_layer
from zerotrain.data.corpus import Example
from zerotrain.data.forms.base import Preparation
from zerotrain.data.stores.base import IGNORED, Arrays, Counts, Int64s
from zerotrain.data.stores.tokens import DOCUMENTS_FILE, TOKENS_FILE, token_dtype
from zerotrain.data.tokenizer import PairEncoder

KIND = "rows"

_LABELS_FILE, _TYPES_FILE = "labels.npy", "types.bin"
_AT_ONCE = 1024
_MULTIPLE = 8
"""Rows are padded to a multiple of this, which the matrix units of GPUs like."""


@dataclass(frozen=True)
class Row:
    """One text, or two, with the number of their class."""

    text: str
    pair: str | None
    label: int


class RowStore:
    """Prepared rows."""

    def __init__(self, path: Path, facts: Facts) -> None:
        self._facts = facts
        self._documents: Int64s = np.load(path / DOCUMENTS_FILE, mmap_mode="r")
        self._labels: Int64s = np.load(path / _LABELS_FILE, mmap_mode="r")
        self._tokens = np.asarray(np.memmap(path / TOKENS_FILE, facts["dtype"], mode="r"))
        self._types = np.asarray(np.memmap(path / _TYPES_FILE, np.uint8, mode="r"))

    @classmethod
    def open(cls, path: Path) -> RowStore:
        """Returns the rows in a directory of the cache; DataError (ZT608) when it is damaged."""
        layer = open_layer(path, KIND)
        return cls(path, layer.facts)

    def __len__(self) -> int:
        return int(self._facts["samples"])

    def batch(self, indices: Int64s, draws: Int64s, rows: int) -> Arrays:
        """Returns `input_ids`, `token_type_ids` and `attention_mask` [rows, longest], and `labels` [rows].

        A row without a sample has one token to look at, so that its attention has a sum, and no label.
        """
        spans = [slice(*self._documents[index : index + 2]) for index in indices]
        longest = max((span.stop - span.start for span in spans), default=1)
        width = -(-longest // _MULTIPLE) * _MULTIPLE
        ids = np.full((rows, width), self._facts["pad_token_id"], np.int64)
        types, mask = np.zeros((rows, width), np.int64), np.zeros((rows, width), np.int64)
        mask[:, 0] = 1
        labels = np.full(rows, IGNORED, np.int64)
        for row, span in enumerate(spans):
            length = span.stop - span.start
            ids[row, :length], types[row, :length], mask[row, :length] = self._tokens[span], self._types[span], 1
        labels[: len(indices)] = self._labels[indices]
        return {"input_ids": ids, "token_type_ids": types, "attention_mask": mask, "labels": labels}

    def counts(self, indices: Int64s, draws: Int64s) -> Counts:
        """Returns one target for each row, and the tokens of all."""
        lengths = self._documents[indices + 1] - self._documents[indices]
        return Counts(len(indices), int(lengths.sum()))


def rows_layer(preparation: Preparation, row_of: Callable[[Example], Row], facts: Mapping[str, Any]) -> Layer:
    """Returns the rows of a corpus, each cut to `data.seq_len` tokens, its special tokens kept."""
    known, corpus, length = preparation.tokenizer_facts, preparation.corpus, preparation.data.seq_len
    assert length is not None, "a task on text without a length is refused before"
    assert preparation.tokenizer is not None, "a task on text without a tokenizer is refused before"
    encoder = PairEncoder(preparation.tokenizer.path, length)
    key = {"records": corpus.digest, "tokenizer": known.fingerprint, "seq_len": length, **facts}

    def build(folder: Path) -> Facts:
        preparation.say(f"tokenizing {corpus.documents:,} records")
        dtype = token_dtype(known.vocab_size)
        offsets, labels, cut = array("q", [0]), array("q"), 0
        with (folder / TOKENS_FILE).open("wb") as tokens, (folder / _TYPES_FILE).open("wb") as types:
            for rows in _lots(map(row_of, corpus.examples())):
                for row, encoded in zip(rows, encoder.encode([(r.text, r.pair) for r in rows]), strict=True):
                    tokens.write(np.asarray(encoded.ids, dtype).tobytes())
                    types.write(bytes(encoded.type_ids))
                    offsets.append(offsets[-1] + len(encoded.ids))
                    labels.append(row.label)
                    cut += bool(encoded.overflowing)
        np.save(folder / DOCUMENTS_FILE, np.frombuffer(offsets, np.int64))
        np.save(folder / _LABELS_FILE, np.frombuffer(labels, np.int64))
        if cut:
            preparation.say(f"{cut:,} of {len(labels):,} records of `{corpus.key}` were cut to {length} tokens")
        sizes = {"samples": len(labels), "targets": len(labels), "tokens": offsets[-1]}
        return {**sizes, **facts, "dtype": dtype.name, "pad_token_id": known.pad_token_id}

    return obtain(preparation.root, KIND, key, build, preparation.say)


def _lots(rows: Iterable[Row]) -> Iterator[list[Row]]:
    rest = iter(rows)
    while lot := list(islice(rest, _AT_ONCE)):
        yield lot
