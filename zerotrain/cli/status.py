"""`zerotrain status`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from socket import gethostname
from statistics import median
from typing import Any

from zerotrain.launch.submit import read_submission
from zerotrain.runs.attempts import Attempt, attempts
from zerotrain.runs.catalogue import Checkpoint, catalogue
from zerotrain.runs.events import events
from zerotrain.runs.history import curve, evaluations, rows
from zerotrain.runs.improvement import best_checkpoint
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.progress import evaluation_line, training_line
from zerotrain.runs.record import RunRecord, read_record
from zerotrain.spec.run import KeepBestSpec
from zerotrain.units import format_seconds

_STEPS_OF_A_PACE = 20
_SHOWN_EVENTS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("directory", metavar="RUN", type=Path, help="a run directory, such as runs/quickstart")


def run(given: argparse.Namespace) -> int:
    """Prints where the run stands."""
    for line in _lines(RunDirectory(given.directory)):
        print(line)
    return 0


def _lines(run: RunDirectory) -> Iterator[str]:
    record, trained = read_record(run), curve(run)
    tried = attempts(run)
    outcome = state_of(tried[-1]) if tried else "not started"
    reached = max([*trained, *(attempt.last_step or 0 for attempt in tried)], default=0)
    yield f"{record.name}: {outcome}, {reached}/{record.steps} steps"
    if trained:
        yield training_line(trained[max(trained)], record.steps, _seconds_left(trained, record.steps, outcome))
    for row in list(rows(run, "eval"))[-1:]:
        yield evaluation_line(row, record.steps)
    complete, passed_over = catalogue(run)
    best = _best(run, record, complete)
    named = (f"{c.manifest.tag} (best)" if c == best else c.manifest.tag for c in complete)
    yield f"checkpoints: {', '.join(named) or 'none'}"
    for passed in passed_over:
        yield f"  passed over {passed.path.name}: {passed.reason}"
    for event in events(run)[-_SHOWN_EVENTS:]:
        yield f"{event.code} {event.name}, {event.action}: {event.message}"
    for attempt in tried:
        yield _attempt(attempt)
    submission = read_submission(run)
    if submission is not None:
        yield f"{submission.launcher} job {submission.name}, submitted {_clock(submission.time)}"


def state_of(attempt: Attempt) -> str:
    """Returns the outcome of an attempt; of one that nobody could record, that its processes are gone."""
    is_here = attempt.host == gethostname() and attempt.pid is not None
    is_gone = attempt.outcome == "running" and is_here and not Path(f"/proc/{attempt.pid}").exists()
    return "gone without a word" if is_gone else attempt.outcome


def _seconds_left(trained: Mapping[int, Mapping[str, Any]], steps: int, outcome: str) -> float | None:
    """Returns how long the rest takes at the pace of the last steps; None when nothing runs."""
    newest = sorted(trained)[-_STEPS_OF_A_PACE:]
    paces = [trained[step]["step_seconds"] for step in newest]
    return median(paces) * (steps - newest[-1]) if outcome == "running" and newest[-1] < steps else None


def _best(run: RunDirectory, record: RunRecord, complete: Sequence[Checkpoint]) -> Checkpoint | None:
    keep = record.resolved.get("checkpoint", {}).get("keep_best")
    return best_checkpoint(KeepBestSpec.model_validate(keep), evaluations(run), complete) if keep else None


def _attempt(attempt: Attempt) -> str:
    began = _clock(attempt.started)
    lasted = f" after {format_seconds(attempt.ended - attempt.started)}" if attempt.ended else ""
    source = f", continued from {attempt.resumed_from}" if attempt.resumed_from else ""
    why = f": {attempt.reason}" if attempt.reason else ""
    ranks, state = f"{attempt.world_size} ranks", state_of(attempt)
    return f"attempt {attempt.number}: {ranks} from {began}{source}, {state}{lasted}{why}"


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
