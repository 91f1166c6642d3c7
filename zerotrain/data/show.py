"""Prepared samples as a person reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from zerotrain.data.cache import open_layer
from zerotrain.data.order import sample_indices
from zerotrain.data.prepare import PreparedData
from zerotrain.data.pretrained import TOKENIZER_FILE
from zerotrain.data.stores import packed, rows
from zerotrain.data.stores.base import IGNORED
from zerotrain.data.stores.mixture import KIND as MIXTURE
from zerotrain.data.stores.mixture import MixtureStore
from zerotrain.data.stores.table import open_samples

Decode = Callable[[Sequence[int]], str]
Arrays = Mapping[str, Any]
"""The arrays of one sample, by name."""

BRACKETS, COLORS = ("⟦", "⟧"), ("\033[32m", "\033[0m")
"""What stands around trained tokens where there are no colours, and where there are."""

_LONGEST = 600


def counts(prepared: PreparedData) -> str:
    """Returns a line with the numbers of samples, tokens and skipped records."""
    facts = prepared.facts
    parts = [("training", facts.train_samples, facts.train_tokens)]
    parts += [("validation", facts.validation_samples, facts.validation_tokens)] if facts.validation_samples else []
    said = [f"{name}: {samples:,} samples, {tokens:,} tokens" for name, samples, tokens in parts]
    return "; ".join([*said, f"{facts.skipped:,} records skipped"])


def first_samples(prepared: PreparedData, seed: int, count: int, marks: tuple[str, str]) -> Iterator[str]:
    """Yields the samples that a run with this seed trains on first, with marks around what is trained."""
    store, decode = open_samples(prepared.train), _decoder(prepared.tokenizer)
    count = min(count, len(store))
    if isinstance(store, MixtureStore):
        indices = store.indices(seed=seed, start=0, count=count)
    else:
        indices = sample_indices(seed=seed, num_samples=len(store), start=0, count=count)
    arrays, read = store.batch(indices, np.arange(count), count), READERS.get(_kind(prepared.train), _shapes)
    for row in range(count):
        sample = {name: array[row] for name, array in arrays.items()}
        yield _plain(read(sample, decode, prepared.facts.labels, marks), marks)


def _tokens(sample: Arrays, decode: Decode, labels: Sequence[str], marks: tuple[str, str]) -> str:
    """Returns each segment on a line of its own, trained tokens marked."""
    segments = sample["segment_ids"]
    lines = []
    for segment in range(int(segments.max(initial=-1)) + 1):
        own = segments == segment
        inputs, targets = sample["input_ids"][own].tolist(), sample["labels"][own].tolist()
        last = [targets[-1]] if targets[-1] != IGNORED else []
        trained = [False, *(target != IGNORED for target in targets)]
        lines.append(_marked([*inputs, *last], trained, decode, marks))
    return "\n".join(lines)


def _marked(ids: Sequence[int], trained: Sequence[bool], decode: Decode, marks: tuple[str, str]) -> str:
    runs = groupby(zip(ids, trained, strict=False), key=lambda token: token[1])
    texts = [(is_trained, decode([number for number, _ in run])) for is_trained, run in runs]
    return "".join(f"{marks[0]}{text}{marks[1]}" if is_trained else text for is_trained, text in texts)


def _row(sample: Arrays, decode: Decode, labels: Sequence[str], marks: tuple[str, str]) -> str:
    """Returns the text with its special tokens, and the class, which is what is trained."""
    text, number = decode(sample["input_ids"][sample["attention_mask"] == 1].tolist()), int(sample["labels"])
    return f"{text} → {marks[0]}{labels[number] if number < len(labels) else number}{marks[1]}"


def _shapes(sample: Arrays, decode: Decode, labels: Sequence[str], marks: tuple[str, str]) -> str:
    """Returns what the arrays are, for data that cannot be read as text."""
    arrays = {name: np.asarray(array) for name, array in sample.items()}
    return ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in arrays.items())


READERS: Mapping[str, Callable[[Arrays, Decode, Sequence[str], tuple[str, str]], str]] = {
    packed.KIND: _tokens,
    rows.KIND: _row,
}
"""How a sample is read, by the kind of its store."""


def _kind(layer: Path) -> str:
    """Returns the kind of the samples; all parts of a mixture are of one kind."""
    if layer.parent.name != MIXTURE:
        return layer.parent.name
    return open_layer(layer, MIXTURE).facts["parts"][0].split("/")[0]


def _decoder(folder: Path | None) -> Decode:
    if folder is None:
        return str
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    return lambda ids: tokenizer.decode(list(ids), skip_special_tokens=False)


def _plain(text: str, marks: tuple[str, str]) -> str:
    """Returns the beginning of a text, without what a terminal would take for a command, marks excepted."""
    end = marks[1] if len(text) > _LONGEST and text[:_LONGEST].count(marks[0]) > text[:_LONGEST].count(marks[1]) else ""
    short = text[:_LONGEST] + (f"{end} …" if len(text) > _LONGEST else "")
    pieces = short.replace(marks[0], "\0").replace(marks[1], "\1")
    shown = "".join(c if c.isprintable() or c in "\n\t\0\1" else "·" for c in pieces)
    return shown.replace("\0", marks[0]).replace("\1", marks[1])
