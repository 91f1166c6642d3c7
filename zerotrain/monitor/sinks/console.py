"""Progress for a person."""

from __future__ import annotations

import time

from zerotrain.monitor.console import Console
from zerotrain.monitor.sinks.base import Row
from zerotrain.runs.progress import evaluation_line, training_line

_SECONDS_BETWEEN_LINES = 10.0
_STEPS_THAT_WARM_UP = 2


class ConsoleSink:
    """One progress line on a terminal; in a log a plain line now and then."""

    def __init__(self, console: Console, total_steps: int) -> None:
        self._console, self._total = console, total_steps
        self._seconds: list[float] = []
        self._last_line = 0.0

    def write(self, row: Row) -> None:
        """Shows a row."""
        if row["kind"] == "eval":
            self._console.say(evaluation_line(row, self._total))
        elif row["kind"] == "train":
            self._train(row)

    def close(self) -> None:
        """Does nothing: the last row has had its line."""

    def _train(self, row: Row) -> None:
        line = training_line(row, self._total, self._seconds_left(row))
        is_last, now = row["step"] == self._total, time.monotonic()
        if is_last or (not self._console.is_terminal and now - self._last_line >= _SECONDS_BETWEEN_LINES):
            self._console.say(line)
            self._last_line = now
        else:
            self._console.progress(line)

    def _seconds_left(self, row: Row) -> float | None:
        self._seconds = [*self._seconds[-49:], row["step_seconds"]]
        usual = self._seconds[_STEPS_THAT_WARM_UP:] or self._seconds
        return (self._total - row["step"]) * sum(usual) / len(usual)
