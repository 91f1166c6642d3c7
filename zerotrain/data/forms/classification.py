"""Texts with a class each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zerotrain.data.cache import Layer
from zerotrain.data.forms.base import Preparation, missing_column, text_of, wrong_type
from zerotrain.data.sources.record import Fault, Record
from zerotrain.data.stores.rows import Row, rows_layer
from zerotrain.spec.suggest import nearest
from zerotrain.spec.task import SequenceClassificationTask


class LabelReader:
    """The classes of a run: declared by the task, or else those of the training data."""

    def __init__(self, declared: Sequence[str] | None) -> None:
        self.names: Sequence[str] = tuple(declared or ())
        self._is_open = declared is None
        self._found: set[str | int] = set()

    def read(self, record: Record) -> str | int | Fault:
        """Returns the label of a record, the number or the name of its class."""
        if "label" not in record.fields:
            return missing_column(record, "label")
        label = record.fields["label"]
        if not isinstance(label, str | int) or (isinstance(label, int) and label < 0 and self._is_open):
            return wrong_type("label", "the name or the number of a class", label)
        return self._learned(label) if self._is_open else self._known(label)

    def settle(self) -> None:
        """Fixes the classes: names in their order, numbers from 0 to the largest."""
        if self._is_open:
            names = sorted(label for label in self._found if isinstance(label, str))
            numbers = [label for label in self._found if isinstance(label, int)]
            self.names = tuple(names or map(str, range(max(numbers, default=-1) + 1)))
        self._is_open = False

    def number(self, label: str | int) -> int:
        """Returns the number of a class that was read."""
        return label if isinstance(label, int) else self.names.index(label)

    def _learned(self, label: str | int) -> str | int | Fault:
        if isinstance(label, str) != isinstance(next(iter(self._found), label), str):
            return wrong_type("label", "of the type that the labels before it have", label)
        self._found.add(label)
        return label

    def _known(self, label: str | int) -> str | int | Fault:
        if label in self.names or (isinstance(label, int) and 0 <= label < len(self.names)):
            return label
        close = nearest(label, self.names) if isinstance(label, str) else None
        known = f"did you mean `{close}`?" if close else f"there are {len(self.names)} classes"
        return Fault("ZT616", "unknown-label", f"has the label `{label}`, which is no class of the run; {known}")


class TextClassificationForm:
    """Sequence classification: a record has `text`, optionally `text_pair`, and `label`."""

    def __init__(self, task: SequenceClassificationTask) -> None:
        self._classes = LabelReader(task.labels)

    @property
    def labels(self) -> Sequence[str]:
        """The names of the classes."""
        return self._classes.names

    def read(self, record: Record) -> Mapping[str, Any] | Fault:
        """Returns texts and label."""
        text = text_of(record, "text")
        pair = text_of(record, "text_pair") if record.fields.get("text_pair") is not None else None
        label = self._classes.read(record)
        faults = (value for value in (text, pair, label) if isinstance(value, Fault))
        return next(faults, None) or {"text": text, "text_pair": pair, "label": label}

    def settle(self) -> None:
        """Fixes the classes."""
        self._classes.settle()

    def texts(self, example: Mapping[str, Any]) -> Iterator[str]:
        """Yields both texts."""
        yield example["text"]
        if example["text_pair"]:
            yield example["text_pair"]

    def layer(self, preparation: Preparation) -> Layer:
        """Returns rows, one for each record."""
        return rows_layer(preparation, self._rows, {"labels": list(self.labels)})

    def _rows(self, example: Mapping[str, Any]) -> Row:
        return Row(example["text"], example["text_pair"], self._classes.number(example["label"]))
