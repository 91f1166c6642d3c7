"""What a sink is, and the one that does nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Row = Mapping[str, Any]


class Sink(Protocol):
    """Takes the rows of `metrics.jsonl`."""

    def write(self, row: Row) -> None:
        """Takes a row."""
        ...

    def close(self) -> None:
        """Brings everything to its place."""
        ...


class NullSink:
    """Does nothing; the sink of every rank but the first."""

    def write(self, row: Row) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


class ManySinks:
    """Hands every row to several sinks."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks

    def write(self, row: Row) -> None:
        """Hands a row to every sink."""
        for sink in self._sinks:
            sink.write(row)

    def close(self) -> None:
        """Closes every sink."""
        for sink in self._sinks:
            sink.close()
