"""Starting a job's processes and staying with them until all have ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO

from zerotrain.hardware.probe import descendants
from zerotrain.launch.job import Command, Job
from zerotrain.runs.files import write_text

_SECONDS_TO_END = 10.0
"""For processes that have nothing left to save: another one has failed."""
_SECONDS_BETWEEN_LOOKS = 0.1
_REQUESTS_TO_END = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a scheduler, a terminal that closes."""


class Interrupted(Exception):
    """Someone asked this process to end."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(signal.Signals(number).name)


def run_job(job: Job) -> int:
    """Starts every command and waits; when one fails the others are ended.

    Returns 0, or the exit code of the command that failed first, negative for the number of the signal that killed it.
    What the ranks print for people goes to this process's standard output, the rest to the job's log. Raises
    Interrupted when this process is asked to end, after all of the job's processes are gone.
    """
    processes: list[subprocess.Popen[bytes]] = []
    write_files(job)
    with job.log.open("ab") as log, _interruptions() as interruptions:
        seconds = _SECONDS_TO_END
        try:
            for command in job.commands:
                processes.append(_start(command, log))
            return _first_failure(processes)
        except Interrupted:
            seconds = job.grace
            raise
        finally:
            interruptions.note_end()
            _end(processes, seconds, interruptions)


def write_files(job: Job) -> None:
    """Writes what a job reads, and makes the directory of its log."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    for path, text in job.files.items():
        write_text(path, text)


def _start(command: Command, log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command.arguments,
        env={**os.environ, **command.environment},
        stdin=subprocess.DEVNULL,
        stdout=sys.stdout.fileno(),
        stderr=log,
        start_new_session=True,
    )


def _first_failure(processes: list[subprocess.Popen[bytes]]) -> int:
    running = list(processes)
    while running:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        for process in list(running):
            code = process.poll()
            if code is None:
                continue
            running.remove(process)
            if code != 0:
                return code
    return 0


def _end(processes: list[subprocess.Popen[bytes]], seconds: float, interruptions: _Interruptions) -> None:
    """Ends every process and what it has started.

    Each leads a group of its own; torchrun's ranks lead groups of theirs, and are ended by it, if it is let to.
    """
    family = {pid for process in processes for pid in descendants(process.pid)}
    _signal(processes, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while any(_group_lives(process.pid) for process in processes) and time.monotonic() < deadline:
        if interruptions.is_impatient:
            break
        for process in processes:
            process.poll()
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    _signal(processes, signal.SIGKILL)
    for process in processes:
        process.wait()
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _signal(processes: list[subprocess.Popen[bytes]], number: int) -> None:
    for process in processes:
        if _group_lives(process.pid):
            os.killpg(process.pid, number)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


class _Interruptions:
    """Raises Interrupted when this process is asked to end; when that is under way already, it is to be quick."""

    def __init__(self) -> None:
        self._is_ending = False
        self.is_impatient = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._is_ending:
            self.is_impatient = True
            return
        self._is_ending = True
        raise Interrupted(number)

    def note_end(self) -> None:
        self._is_ending = True


@contextmanager
def _interruptions() -> Generator[_Interruptions]:
    """Turns requests to end into an exception, so that no child outlives this process."""
    interruptions = _Interruptions()
    before = {number: signal.signal(number, interruptions) for number in _REQUESTS_TO_END}
    try:
        yield interruptions
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def remove_shared_memory(address: str, port: int) -> list[Path]:
    """Removes the buffers that killed ranks have left in /dev/shm, about 69 MB each, and returns their paths.

    DeepSpeed names them after the user, and the address and port at which the ranks met (csrc/cpu/comm/shm.cpp).
    """
    left = sorted(Path("/dev/shm").glob(f"deepspeed_allreduce_buffer_{os.getuid()}_{address}_{port}_*"))
    for buffer in left:
        buffer.unlink(missing_ok=True)
    return left
