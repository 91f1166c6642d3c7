"""Notices that a rank no longer moves, and finds out which one holds the others up.

A rank that waits for others is in one of torch's collective operations; the one they wait for is anywhere else, or says
nothing at all, because its process is stopped or its machine is gone.
"""

from __future__ import annotations

import faulthandler
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType, TracebackType

from zerotrain.diagnostic import Diagnostic, error
from zerotrain.runs.files import write_json
from zerotrain.runs.layout import RunDirectory
from zerotrain.spec.suggest import listed
from zerotrain.units import TimeSpan

_NAMED_RANKS = 4
_LONGEST_GATHERING = 120.0
"""Seconds in which every rank that can has said where it stands; a step takes less."""

_WAITING_FILES = ("torch/distributed/", "deepspeed/comm/", "deepspeed/runtime/comm/", "engine/reduce.py")
_WAITING_FUNCTIONS = ("wait", "synchronize", "_engine_run_backward")
_INNERMOST = 6
"""Frames of a stack that tell whether it waits."""


@dataclass(frozen=True)
class Standstill:
    """Where a rank stands that has not moved."""

    rank: int
    step: int
    place: str
    """Innermost function and line."""
    waits: bool
    """True when it waits for other ranks."""


@dataclass(frozen=True)
class Standing:
    """The ranks of an attempt, and how long one may stand still."""

    run: RunDirectory
    attempt: int
    rank: int
    world_size: int
    limit: TimeSpan


class Watchdog:
    """Ends the process when its main thread has not moved for too long, and says which rank is to blame."""

    def __init__(self, standing: Standing, end: Callable[[Diagnostic], None]) -> None:
        self._standing, self._end = standing, end
        self._main, self._step = threading.main_thread(), 0
        self._moved = time.monotonic()
        self._is_over = threading.Event()

    def beat(self, step: int | None = None) -> None:
        """Says that the main thread moves; at the beginning of a step, which."""
        self._moved = time.monotonic()
        self._step = self._step if step is None else step

    def __enter__(self) -> Watchdog:
        self.beat()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()

    def _watch(self) -> None:
        limit = self._standing.limit.seconds
        while not self._is_over.wait(min(limit / 10, 5.0)):
            moved = self._moved
            if time.monotonic() - moved < limit:
                continue
            self._report()
            if not self._is_over.wait(min(limit, _LONGEST_GATHERING)) and self._moved == moved:
                self._end(verdict(self._standing, self._step))
                return
            self._file(self._standing.rank).unlink(missing_ok=True)

    def _report(self) -> None:
        """Writes the stacks to the rank's log, and where it stands for the others."""
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        frames = list(_frames(sys._current_frames().get(self._main.ident or 0)))
        place = f"`{frames[0].f_code.co_name}` ({_short(frames[0])})" if frames else "nowhere"
        stands = Standstill(self._standing.rank, self._step, place, waits(frames))
        write_json(self._file(stands.rank), asdict(stands))

    def _file(self, rank: int) -> Path:
        return _file(self._standing, rank)


def verdict(standing: Standing, step: int) -> Diagnostic:
    """Returns which ranks the others wait for, from what all have said."""
    said = [_read(_file(standing, rank)) for rank in range(standing.world_size)]
    stands = [one for one in said if one is not None]
    lost = [rank for rank, one in enumerate(said) if one is None]
    busy = [one for one in stands if not one.waits]
    span = f"for {standing.limit} in step {step}"
    if lost:
        have, whose = ("has", "its") if len(lost) == 1 else ("have", "their")
        what = f"{_ranks(lost)} {have} not answered {span}: stopped, or {whose} machine gone"
    elif busy:
        what = f"{_ranks([one.rank for one in busy])} moved no more {span}, in {busy[0].place}"
    else:
        what = f"all ranks wait for each other {span}, rank {standing.rank} in {stands[0].place if stands else 'vain'}"
    others = standing.world_size - len(lost or busy)
    waiting = f"; {others} {'other waits' if others == 1 else 'others wait'}" if (lost or busy) and others else ""
    folder = standing.run.attempt(standing.attempt)
    help = f"stacks of the ranks are in their logs in `{folder}`; if a step takes that long, raise `health.hang`"
    return error("ZT766", "hung-rank", what + waiting, help=help, key="health.hang")


def waits(frames: Sequence[FrameType]) -> bool:
    """Tells from a stack, innermost frame first, whether it waits for other ranks."""
    innermost = frames[:_INNERMOST]
    if any(part in frame.f_code.co_filename for frame in innermost for part in _WAITING_FILES):
        return True
    return bool(innermost) and innermost[0].f_code.co_name in _WAITING_FUNCTIONS


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _short(frame: FrameType) -> str:
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def _ranks(numbers: Sequence[int]) -> str:
    more = len(numbers) - _NAMED_RANKS
    named = [f"rank {number}" for number in numbers[:_NAMED_RANKS]] + ([f"{more} more"] if more > 0 else [])
    return listed(named, "and").replace("`", "")


def _file(standing: Standing, rank: int) -> Path:
    return standing.run.attempt(standing.attempt) / f"rank-{rank}.standstill.json"


def _read(file: Path) -> Standstill | None:
    try:
        return Standstill(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
