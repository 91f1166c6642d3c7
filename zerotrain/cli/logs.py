"""`zerotrain logs`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import RunError
from zerotrain.runs.attempts import last_attempt, read_attempt
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import read_record

_SECONDS_BETWEEN_LOOKS = 0.2
_USUAL_LINES = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("directory", metavar="RUN", type=Path, help="a run directory, such as runs/quickstart")
    parser.add_argument("--rank", type=int, metavar="N", help="that rank's log, instead of rank 0's")
    parser.add_argument("--launcher", action="store_true", help="the launcher's own log")
    parser.add_argument("--attempt", type=int, metavar="N", help="of that attempt, instead of the newest")
    parser.add_argument("--lines", type=int, metavar="N", default=_USUAL_LINES, help="so many last lines; 0: all")
    parser.add_argument("--follow", "-f", action="store_true", help="go on until the attempt ends")


def run(given: argparse.Namespace) -> int:
    """Prints the end of a log."""
    run = RunDirectory(given.directory)
    read_record(run)
    number = given.attempt or last_attempt(run)
    path = run.attempt(number) / "launcher.log" if given.launcher else run.rank_log(number, given.rank or 0)
    if not (path.is_file() or (given.follow and number)):
        raise RunError(_missing(run, path))
    for text in _following(run, number, path, given.lines) if given.follow else _last(path, given.lines):
        sys.stdout.write(text)
        sys.stdout.flush()
    return 0


def _last(path: Path, lines: int) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        yield from deque(file, maxlen=lines or None)


def _following(run: RunDirectory, number: int, path: Path, lines: int) -> Iterator[str]:
    """Yields what is there and what comes, until the attempt has ended and nothing more comes."""
    while not path.is_file() and not _has_ended(run, number):
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        yield from deque(file, maxlen=lines or None)
        while True:
            has_ended = _has_ended(run, number)
            if text := file.read():
                yield text
            elif has_ended:
                return
            time.sleep(_SECONDS_BETWEEN_LOOKS)


def _has_ended(run: RunDirectory, number: int) -> bool:
    attempt = read_attempt(run, number)
    return attempt is not None and attempt.outcome != "running"


def _missing(run: RunDirectory, path: Path) -> Diagnostic:
    there = sorted(str(log.relative_to(run.logs)) for log in run.logs.glob("attempt-*/*.log"))
    help = f"there is {', '.join(f'`{name}`' for name in there[-4:])}" if there else "the run has not begun"
    return error("ZT716", "no-log", f"there is no `{path}`", help=help)
