"""Exports and copies that another process makes while training goes on, one at a time, on the machine of rank 0."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal

import torch.distributed as dist

from zerotrain.checkpoint.places import open_place
from zerotrain.diagnostic import Diagnostic, warning
from zerotrain.engine.loop import Update
from zerotrain.engine.state import TrainState
from zerotrain.errors import CheckpointError
from zerotrain.monitor.console import Console
from zerotrain.monitor.sinks.base import Sink
from zerotrain.runs.catalogue import MANIFEST, Checkpoint, read_checkpoint, reading, tag_of
from zerotrain.runs.events import Event
from zerotrain.runs.exports import remove_old_exports
from zerotrain.runs.layout import RunDirectory
from zerotrain.spec.run import RunSpec
from zerotrain.units import Duration

Kind = Literal["export", "archive", "archive of exports"]

_NICENESS = 10
_SECONDS_TO_END = 10.0


def errand_intervals(spec: RunSpec) -> dict[Kind, int]:
    """Returns every how many steps an export or a copy of a checkpoint is made."""
    lengths: dict[Kind, Duration | None] = {
        "export": spec.export.every if spec.export else None,
        "archive": spec.archive.every if spec.archive else None,
    }
    return {kind: length.value for kind, length in lengths.items() if length is not None}


@dataclass
class _Errand:
    kind: Kind
    tag: str
    lock: ExitStack = field(default_factory=ExitStack)
    """Keeps the checkpoint until the errand is done."""
    is_ready: bool = False


@dataclass
class Errands:
    """Starts errands at their intervals and tells how they ended. An export needs host memory for all the weights.

    Of each kind at most one waits: when training is faster, the older one is left out.
    """

    run: RunDirectory
    spec: RunSpec
    attempt: int
    is_first: bool
    """True on rank 0; on others nothing is done."""
    tidy: Callable[[], None] = field(default=lambda: None, init=False)
    """Removes checkpoints that were kept for an errand alone."""
    _intervals: Mapping[Kind, int] = field(init=False)
    _waiting: dict[Kind, _Errand] = field(default_factory=dict[Kind, _Errand], init=False)
    _running: tuple[_Errand, subprocess.Popen[bytes]] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._intervals = errand_intervals(self.spec) if self.is_first else {}

    def __enter__(self) -> Errands:
        if self._intervals:
            remove_old_exports(self.run, sys.maxsize)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def look(self, step: int, *, is_last: bool = False) -> Iterator[Diagnostic | str]:
        """Takes note of what is due at a step, and goes on with what is waiting; yields what is to be told.

        What is due at the last step belongs to the end of the run.
        """
        for kind, every in self._intervals.items():
            if step % every == 0 and not is_last:
                yield from self._queue(_Errand(kind, tag_of(step)))
        yield from self._go_on()

    def finish(self) -> Iterator[Diagnostic | str]:
        """Waits until nothing is under way or waiting; yields what is to be told."""
        while True:
            yield from self._go_on()
            if self._running is None:
                break
            self._running[1].wait()
        self.cancel()

    def cancel(self) -> None:
        """Ends what is under way and forgets what waits."""
        for errand in self._waiting.values():
            errand.lock.close()
        self._waiting.clear()
        if self._running is not None:
            (errand, process), self._running = self._running, None
            process.terminate()
            try:
                process.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            errand.lock.close()

    def _queue(self, errand: _Errand) -> Iterator[str]:
        if (older := self._waiting.pop(errand.kind, None)) is not None:
            older.lock.close()
            yield f"the {older.kind} of `{older.tag}` is left out: the one before it is still being made"
        self._waiting[errand.kind] = errand

    def _go_on(self) -> Iterator[Diagnostic | str]:
        for errand in self._waiting.values():
            self._hold(errand)
        if self._running is not None and self._running[1].poll() is not None:
            (errand, process), self._running = self._running, None
            errand.lock.close()
            self.tidy()
            yield self._outcome(errand, process.returncode)
        ready = next((errand for errand in self._waiting.values() if errand.is_ready), None)
        if self._running is None and ready is not None:
            self._running = self._waiting.pop(ready.kind), self._start(ready)

    def _hold(self, errand: _Errand) -> None:
        """Keeps the checkpoint of an errand from being removed, once it is complete."""
        path = self.run.checkpoints / errand.tag
        if errand.is_ready or not (path / MANIFEST).is_file():
            return
        checkpoint = read_checkpoint(path)
        if isinstance(checkpoint, Checkpoint):
            errand.lock.enter_context(reading(checkpoint))
            errand.is_ready = True

    def _start(self, errand: _Errand) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "zerotrain", *self._words(errand)]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)
        return process

    def _words(self, errand: _Errand) -> list[str]:
        if errand.kind == "archive":
            return ["archive", str(self.run.root), "--checkpoint", errand.tag]
        if errand.kind == "archive of exports":
            return ["archive", str(self.run.root), "--exports-only"]
        assert self.spec.export is not None, "it has an interval"
        how = ["--checkpoint", errand.tag, "--dtype", self.spec.export.dtype, "--weights", self.spec.export.weights]
        return ["export", str(self.run.root), "-o", str(self.run.exports / errand.tag), *how]

    @property
    def _log(self) -> Path:
        return self.run.attempt(self.attempt) / "errand.log"

    def _outcome(self, errand: _Errand, code: int) -> Diagnostic | str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if code:
            message = f"the {errand.kind} of `{errand.tag}` failed: {_reason(lines, code)}"
            help = "training goes on, and tries again at the next interval"
            return warning("ZT782", "failed-errand", message, help=help)
        if errand.kind == "export" and self.spec.export is not None:
            remove_old_exports(self.run, self.spec.export.keep_last)
            if self.spec.archive is not None and self.spec.archive.exports:
                copying = _Errand("archive of exports", errand.tag, is_ready=True)
                self._waiting.setdefault(copying.kind, copying)
        return lines[-1] if lines else f"the {errand.kind} of `{errand.tag}` is done"


def _reason(lines: list[str], code: int) -> str:
    """Returns what an errand said of its failure, in one line."""
    told = [line for line in lines if "error[" in line]
    return told[0] if told else lines[-1] if lines else f"exit code {code}"


def refuse_unreachable_archive(spec: RunSpec, *, is_first: bool) -> None:
    """Raises CheckpointError on all ranks when rank 0 cannot write where the run is to be copied to."""
    if spec.archive is None:
        return
    refused: list[CheckpointError | None] = [None]
    if is_first:
        try:
            (open_place(spec.archive.to) / spec.name).probe()
        except CheckpointError as failure:
            refused = [failure]
    dist.broadcast_object_list(refused, src=0)
    if refused[0] is not None:
        raise refused[0]


@dataclass
class RunErrands:
    """Lets errands go on after every update, and tells of them."""

    errands: Errands
    last_step: int
    sink: Sink
    console: Console

    def after_update(self, state: TrainState, update: Update) -> None:
        """Looks after the errands."""
        for told in self.errands.look(state.step, is_last=state.is_over(self.last_step)):
            if isinstance(told, Diagnostic):
                event = Event(told.code, told.name, state.step, "warn", told.message)
                self.sink.write(event.as_row(self.errands.attempt, time.time()))
            self.console.say(as_line(told))


def as_line(told: Diagnostic | str) -> str:
    """Returns what is told in one line."""
    if isinstance(told, str):
        return told
    return f"{told.severity.value}[{told.code}] {told.name}: {told.message}; {told.help}"
