"""The attempts of a run: each start of its workers, and how it ended."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from zerotrain.diagnostic import Diagnostic, Place, Severity, error
from zerotrain.errors import RunError
from zerotrain.runs.files import write_json
from zerotrain.runs.layout import RunDirectory

Outcome = Literal["running", "finished", "failed", "stopped"]

STOPPED = 75
"""Exit code of what was asked to stop and has saved a checkpoint: sysexits' EX_TEMPFAIL, "try again later"."""


@dataclass(frozen=True)
class Attempt:
    """One start of the workers."""

    number: int
    started: float
    """Unix seconds."""
    world_size: int
    resumed_from: str | None = None
    """Tag of the checkpoint it continues from."""
    outcome: Outcome = "running"
    ended: float | None = None
    last_step: int | None = None
    reason: str | None = None
    """Why it ended; of one that finished, why before the last step of the run."""
    is_at_limit: bool = False
    """True when it finished at a limit of time, which may be raised."""
    host: str | None = None
    """Machine of rank 0."""
    pid: int | None = None
    """Process of rank 0 there."""


def attempts(run: RunDirectory) -> list[Attempt]:
    """Returns the attempts in order; one whose record is missing or damaged is left out."""
    found = [read_attempt(run, number) for number in sorted(_numbers(run))]
    return [attempt for attempt in found if attempt is not None]


def last_attempt(run: RunDirectory) -> int:
    """Returns the number of the newest attempt; 0 when there is none."""
    return max(_numbers(run), default=0)


def next_attempt(run: RunDirectory) -> int:
    """Returns the number of the next attempt and makes its directory."""
    number = last_attempt(run) + 1
    while True:
        try:
            run.attempt(number).mkdir(parents=True)
            return number
        except FileExistsError:  # someone else has begun one since we looked
            number += 1


@contextmanager
def hold(run: RunDirectory) -> Generator[None]:
    """Keeps other processes from starting an attempt; RunError when another one holds the run."""
    run.logs.mkdir(exist_ok=True)
    with (run.logs / ".held").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"`{run.root}` is being trained by another process"
            help = f"see how far it is with `zerotrain status {run.root}`"
            raise RunError(error("ZT713", "busy-run", message, help=help)) from None
        yield


def write_attempt(run: RunDirectory, attempt: Attempt) -> None:
    """Records an attempt."""
    write_json(run.attempt(attempt.number) / "attempt.json", asdict(attempt))


def read_attempt(run: RunDirectory, number: int) -> Attempt | None:
    """Returns an attempt, or None when its record is missing or damaged."""
    try:
        content = json.loads((run.attempt(number) / "attempt.json").read_text(encoding="utf-8"))
        return Attempt(**content)
    except (OSError, ValueError, TypeError):
        return None


def end_attempt(run: RunDirectory, number: int, outcome: Outcome, **facts: Any) -> None:
    """Records how an attempt ended."""
    attempt = read_attempt(run, number)
    if attempt is not None:
        write_attempt(run, replace(attempt, outcome=outcome, ended=time.time(), **facts))


def _numbers(run: RunDirectory) -> list[int]:
    names = (path.name.removeprefix("attempt-") for path in run.logs.glob("attempt-*"))
    return [int(name) for name in names if name.isascii() and name.isdigit()]


@dataclass(frozen=True)
class Failure:
    """Why a rank failed."""

    rank: int
    time: float
    reason: str
    """In one line."""
    findings: list[Diagnostic]
    """Empty when the failure is not one that zerotrain knows."""
    traceback: str


def write_failure(run: RunDirectory, attempt: int, failure: Failure) -> None:
    """Records why a rank failed, for whoever started it."""
    findings = [finding.as_json() for finding in failure.findings]
    write_json(run.rank_failure(attempt, failure.rank), {**asdict(failure), "findings": findings})


def is_first_to_fail(run: RunDirectory, attempt: int) -> bool:
    """Tells the first rank that asks after it has failed, and no other."""
    try:
        _first_failure(run, attempt).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def has_failed(run: RunDirectory, attempt: int) -> bool:
    """Tells whether a rank has said that it failed."""
    return _first_failure(run, attempt).exists()


def _first_failure(run: RunDirectory, attempt: int) -> Path:
    return run.attempt(attempt) / "first-failure"


def failures(run: RunDirectory, attempt: int) -> list[Failure]:
    """Returns the failures of an attempt's ranks, the first to fail first; a damaged record is left out."""
    found = [_read_failure(path) for path in run.attempt(attempt).glob("rank-*.failure.json")]
    return sorted((failure for failure in found if failure is not None), key=lambda failure: failure.time)


def _read_failure(path: Path) -> Failure | None:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = [_finding(entry) for entry in content.pop("findings")]
        return Failure(**content, findings=found)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _finding(content: Mapping[str, Any]) -> Diagnostic:
    place = Place(content["file"], content["line"], content["column"], content["key"])
    severity = Severity(content["severity"])
    return Diagnostic(content["code"], content["name"], severity, content["message"], place, content["help"])
