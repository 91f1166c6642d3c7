"""Prepared samples as a person reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from zerotrain.data.cache import open_layer
from zerotrain.data.order import draws_of, sample_indices
from zerotrain.data.prepare import PreparedData
from zerotrain.data.pretrained import TOKENIZER_FILE
from zerotrain.data.stores import images, masked, packed, pairs, rows
from zerotrain.data.stores.base import IGNORED
from zerotrain.data.stores.mixture import KIND as MIXTURE
from zerotrain.data.stores.mixture import MixtureStore
from zerotrain.data.stores.table import open_samples

Decode = Callable[[Sequence[int]], str]
Arrays = Mapping[str, Any]
"""The arrays of one sample, by name."""

Marks = tuple[str, str]
"""What stands before trained tokens, and behind them."""

BRACKETS, COLORS = ("⟦", "⟧"), ("\033[32m", "\033[0m")
"""What stands around trained tokens where there are no colours, and where there are."""

_LONGEST = 600
"""Characters of a text that are shown."""


@dataclass(frozen=True)
class Reading:
    """What the samples of a run are read with."""

    decode: Decode
    labels: Sequence[str]
    marks: Marks


def counts(prepared: PreparedData) -> str:
    """Returns a line with the numbers of samples, tokens and skipped records."""
    facts = prepared.facts
    parts = [("training", facts.train_samples, facts.train_tokens)]
    parts += [("validation", facts.validation_samples, facts.validation_tokens)] if facts.validation_samples else []
    said = [f"{name}: {samples:,} samples, {tokens:,} tokens" for name, samples, tokens in parts]
    return "; ".join([*said, f"{facts.skipped:,} records skipped"])


def first_samples(prepared: PreparedData, seed: int, count: int, marks: Marks) -> Iterator[str]:
    """Yields the samples that a run with this seed trains on first, with marks around what is trained."""
    store = open_samples(prepared.train)
    count = min(count, len(store))
    if isinstance(store, MixtureStore):
        indices = store.indices(seed=seed, start=0, count=count)
    else:
        indices = sample_indices(seed=seed, num_samples=len(store), start=0, count=count)
    arrays = store.batch(indices, draws_of(seed, np.arange(count, dtype=np.int64)), count)
    read = READERS[_kind(prepared.train)]
    reading = Reading(_decoder(prepared.tokenizer), prepared.facts.labels, marks)
    for row, index in enumerate(indices.tolist()):
        sample = {"index": index, **{name: array[row] for name, array in arrays.items()}}
        yield "\n".join(_plain(text, marks) for text in read(sample, reading))


def _tokens(sample: Arrays, reading: Reading) -> Sequence[str]:
    """Returns each segment on a line of its own, trained tokens marked."""
    segments = sample["segment_ids"]
    lines = []
    for segment in range(int(segments.max(initial=-1)) + 1):
        own = segments == segment
        inputs, targets = sample["input_ids"][own].tolist(), sample["labels"][own].tolist()
        last = [targets[-1]] if targets[-1] != IGNORED else []
        trained = [False, *(target != IGNORED for target in targets)]
        lines.append(_marked(zip([*inputs, *last], trained, strict=False), reading))
    return ["\n".join(lines)]


def _masked(sample: Arrays, reading: Reading) -> Sequence[str]:
    """Returns each segment on a line of its own; of hidden tokens what they are, and what is seen in their place."""
    segments = sample["segment_ids"] if "segment_ids" in sample else sample["attention_mask"] - 1
    lines = []
    for segment in range(int(segments.max(initial=-1)) + 1):
        own = segments == segment
        tokens = zip(sample["input_ids"][own].tolist(), sample["labels"][own].tolist(), strict=True)
        runs = groupby(tokens, key=lambda token: token[1] != IGNORED)
        lines.append("".join((_hidden if is_hidden else _seen)(list(run), reading) for is_hidden, run in runs))
    return ["\n".join(lines)]


def _hidden(run: Sequence[tuple[int, int]], reading: Reading) -> str:
    (begin, end), hidden = reading.marks, reading.decode([label for _, label in run])
    return f"{begin}{hidden} → {_seen(run, reading)}{end}"


def _seen(run: Iterable[tuple[int, int]], reading: Reading) -> str:
    return reading.decode([token for token, _ in run])


def _pair(sample: Arrays, reading: Reading) -> Sequence[str]:
    """Returns what both answers follow, then each answer, trained tokens marked."""
    chosen, rejected = _side(sample, 0), _side(sample, 1)
    same = takewhile(lambda both: both[0] == both[1] and not both[0][1], zip(chosen, rejected, strict=False))
    begin = sum(1 for _ in same)
    answers = (_marked(side[begin:], reading).rstrip("\n") for side in (chosen, rejected))
    named = (f"{name}: {answer}" for name, answer in zip(("chosen", "rejected"), answers, strict=True))
    return [_seen(chosen[:begin], reading).rstrip("\n"), *named]


def _side(sample: Arrays, side: int) -> list[tuple[int, bool]]:
    """Returns the tokens of one sequence of a pair, and which of them are trained."""
    length = int(sample["attention_mask"][side].sum())
    ids, targets = sample["input_ids"][side][:length].tolist(), sample["labels"][side][: length - 1]
    return list(zip(ids, [False, *(targets != IGNORED).tolist()], strict=True))


def _row(sample: Arrays, reading: Reading) -> Sequence[str]:
    """Returns the text with its special tokens, and the class, which is what is trained."""
    text = reading.decode(sample["input_ids"][sample["attention_mask"] == 1].tolist())
    return [f"{text} → {_class(sample, reading)}"]


def _image(sample: Arrays, reading: Reading) -> Sequence[str]:
    """Returns the number of the image in the order of the sources, its size and its class."""
    channels, height, width = sample["pixel_values"].shape
    colors = "grey" if channels == 1 else f"{channels} channels"
    return [f"image {sample['index'] + 1:,}, {width} x {height} pixels, {colors} → {_class(sample, reading)}"]


def _class(sample: Arrays, reading: Reading) -> str:
    number, (begin, end) = int(sample["labels"]), reading.marks
    return f"{begin}{reading.labels[number] if number < len(reading.labels) else number}{end}"


def _marked(tokens: Iterable[tuple[int, bool]], reading: Reading) -> str:
    begin, end = reading.marks
    runs = ((is_trained, _seen(run, reading)) for is_trained, run in groupby(tokens, key=lambda token: token[1]))
    return "".join(f"{begin}{text}{end}" if is_trained else text for is_trained, text in runs)


READERS: Mapping[str, Callable[[Arrays, Reading], Sequence[str]]] = {
    packed.KIND: _tokens,
    masked.KIND: _masked,
    pairs.KIND: _pair,
    rows.KIND: _row,
    images.KIND: _image,
}
"""How a sample is read, by the kind of its store, as texts that are shortened each by itself."""


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


def _plain(text: str, marks: Marks) -> str:
    """Returns the beginning of a text, without what a terminal would take for a command, marks excepted."""
    end = marks[1] if len(text) > _LONGEST and text[:_LONGEST].count(marks[0]) > text[:_LONGEST].count(marks[1]) else ""
    short = text[:_LONGEST] + (f"{end} …" if len(text) > _LONGEST else "")
    pieces = short.replace(marks[0], "\0").replace(marks[1], "\1")
    shown = "".join(c if c.isprintable() or c in "\n\t\0\1" else "·" for c in pieces)
    return shown.replace("\0", marks[0]).replace("\1", marks[1])
