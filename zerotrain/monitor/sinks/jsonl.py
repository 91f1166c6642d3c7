"""`metrics.jsonl`: one JSON object per line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from zerotrain.monitor.sinks.base import Row


class JsonlSink:
    """Appends rows to a file; each is on its way to the disk when `write` returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b")
        self._end_torn_line()

    def write(self, row: Row) -> None:
        """Appends a row; numbers that JSON does not know become null."""
        self._file.write(json.dumps({key: _plain(value) for key, value in row.items()}).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _end_torn_line(self) -> None:
        """Ends a line that a crash cut short, so that the next row stands on its own."""
        size = self._file.seek(0, 2)
        if size:
            self._file.seek(size - 1)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inside) for key, inside in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
