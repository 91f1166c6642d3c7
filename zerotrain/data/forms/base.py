"""What a form is: how the records of a source become the samples of a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from zerotrain.data.cache import Layer, Say
from zerotrain.data.corpus import Corpus
from zerotrain.data.sources.record import Fault, Record
from zerotrain.data.tokenizer import TokenizerFacts
from zerotrain.spec.data import DataSpec
from zerotrain.spec.suggest import nearest


@dataclass(frozen=True)
class Preparation:
    """What samples are made from."""

    root: Path
    """Of the cache."""
    data: DataSpec
    corpus: Corpus
    tokenizer: Layer | None
    """None for images."""
    say: Say

    @property
    def tokenizer_facts(self) -> TokenizerFacts:
        """What is known of the tokenizer; AssertionError where there is none."""
        assert self.tokenizer is not None, "a task on text without a tokenizer is refused before"
        return TokenizerFacts(**self.tokenizer.facts)


class Form(Protocol):
    """How the records of a task are read and stored. One object serves a run, the training data first."""

    @property
    def labels(self) -> Sequence[str]:
        """The names of the classes in the order of their numbers, once the training data was read; else empty."""
        ...

    def read(self, record: Record) -> Mapping[str, Any] | Fault:
        """Returns what the sample is made of, as values that JSON can hold or bytes, or why there is none."""
        ...

    def settle(self) -> None:
        """Is called when all training data was read: what is learned from it, such as labels, is fixed then."""
        ...

    def texts(self, example: Mapping[str, Any]) -> Iterator[str]:
        """Yields the text of an example, from which a tokenizer is trained."""
        ...

    def layer(self, preparation: Preparation) -> Layer:
        """Returns the prepared samples of a corpus.

        Its facts hold `samples`, `tokens` (that are not padding) and `targets` (that the loss is averaged over).
        """
        ...


def text_of(record: Record, column: str) -> str | Fault:
    """Returns the text in a column, or the fault that it is missing, of another type, or empty."""
    if column not in record.fields:
        return missing_column(record, column)
    value = record.fields[column]
    if not isinstance(value, str):
        return wrong_type(column, "text", value)
    return value or Fault("ZT607", "empty-document", f"has an empty `{column}`")


def missing_column(record: Record, column: str) -> Fault:
    """Returns the fault that a record lacks a column."""
    close = nearest(column, record.fields)
    there = f"; did you mean `columns: {{{column}: {close}}}`?" if close else f", only {_listed(record.fields)}"
    return Fault("ZT613", "missing-column", f"has no `{column}`{there}")


def wrong_type(column: str, wanted: str, value: Any) -> Fault:
    """Returns the fault that a column holds something of another type."""
    return Fault("ZT615", "wrong-type", f"has a `{column}` that is not {wanted} but {_kind(value)}")


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), f"a `{type(value).__name__}`")


def _listed(columns: Mapping[str, Any]) -> str:
    return ", ".join(f"`{column}`" for column in list(columns)[:8]) or "nothing"
