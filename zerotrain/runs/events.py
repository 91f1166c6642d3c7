"""What happened to a run beside training: the rows of kind `event` in `metrics.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from zerotrain.runs.history import rows
from zerotrain.runs.layout import RunDirectory


@dataclass(frozen=True)
class Event:
    """One thing that happened at a step."""

    code: str
    name: str
    step: int
    action: str
    """What was done about it."""
    message: str
    samples: tuple[int, int] | None = None
    """First sample of the batch, and the first after it."""

    def as_row(self, attempt: int, time: float) -> dict[str, Any]:
        """Returns the row of the metrics."""
        return {"kind": "event", "attempt": attempt, "time": time, **asdict(self)}


def events(run: RunDirectory) -> list[Event]:
    """Returns what happened, in the order of time; of what happened again after a resume, the later one."""
    found: dict[tuple[str, int, str], Event] = {}
    for row in rows(run, "event"):
        event = _read(row)
        if event is not None:
            key = (event.code, event.step, event.action)
            found.pop(key, None)
            found[key] = event
    return list(found.values())


def _read(row: Mapping[str, Any]) -> Event | None:
    samples = row.get("samples")
    try:
        names = ("code", "name", "step", "action", "message")
        return Event(*(row[name] for name in names), samples=tuple(samples) if samples else None)
    except KeyError:
        return None
