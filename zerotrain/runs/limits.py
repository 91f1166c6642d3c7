"""How much of its budget of time a run has used."""

from __future__ import annotations

from collections.abc import Sequence

from zerotrain.runs.attempts import Attempt
from zerotrain.runs.history import rows
from zerotrain.runs.layout import RunDirectory
from zerotrain.spec.run import LimitsSpec

_HOUR = 3600.0


def hours_of(run: RunDirectory, attempts: Sequence[Attempt], now: float) -> tuple[float, float]:
    """Returns the hours of all attempts, and the hours of all their ranks; of one that runs, up to `now`."""
    last_seen: dict[int, float] = {}
    for row in rows(run):
        if "attempt" in row and "time" in row:
            last_seen[row["attempt"]] = row["time"]
    hours = ranks_hours = 0.0
    for attempt in attempts:
        is_running = attempt.outcome == "running" and attempt == attempts[-1]
        end = now if is_running else attempt.ended
        spent = max((end or last_seen.get(attempt.number, attempt.started)) - attempt.started, 0.0) / _HOUR
        hours, ranks_hours = hours + spent, ranks_hours + spent * attempt.world_size
    return hours, ranks_hours


def reason_to_end(limits: LimitsSpec, hours: float, gpu_hours: float) -> str | None:
    """Returns which limit is reached, or None."""
    if limits.hours is not None and hours >= limits.hours:
        return f"`limits.hours` of {limits.hours:g} are used up"
    if limits.gpu_hours is not None and gpu_hours >= limits.gpu_hours:
        return f"`limits.gpu_hours` of {limits.gpu_hours:g} are used up"
    return None
