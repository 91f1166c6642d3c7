"""Writing a checkpoint while training goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Thread

import torch

from zerotrain.checkpoint.contents import Contents, contents_of
from zerotrain.checkpoint.guard import Job, WriteGuard
from zerotrain.runs.files import write_json

_SECONDS_BETWEEN_LOOKS = 0.05
_SAID = ".rank-{rank}.json"


class Background:
    """The writing of one checkpoint by this rank; rank 0 also completes it, once all have said that they are done.

    They say so by files: a collective operation in another thread would get between those of training.
    """

    def __init__(
        self, directory: Path, rank: int, ranks: int, jobs: Sequence[Job], complete: Callable[[Contents], str | None]
    ) -> None:
        self._directory, self._rank, self._ranks, self._jobs = directory, rank, ranks, jobs
        self._complete = complete
        self._is_written, self._is_given_up = Event(), Event()
        self._failure: str | None = None
        self._thread = Thread(target=self._work, name="checkpoint", daemon=True)
        self._thread.start()

    def failure_to_write(self) -> str | None:
        """Waits until this rank has written its part; returns why it could not."""
        self._is_written.wait()
        return self._failure

    def end(self, *, is_good: bool) -> str | None:
        """Waits for the end when all ranks have written theirs, or ends it; returns why it could not be completed."""
        if not is_good:
            self._is_given_up.set()
        self._thread.join()
        return self._failure

    def _work(self) -> None:
        guard, contents = WriteGuard(), Contents()
        with guard.noting():
            for state, path in self._jobs:
                torch.save(state, path)
            contents = contents_of(self._directory, [path for _, path in self._jobs])
            write_json(self._directory / _SAID.format(rank=self._rank), contents)
        self._jobs, self._failure = (), guard.failure
        self._is_written.set()
        if self._rank == 0 and self._failure is None:
            self._complete_when_all_are_done()

    def _complete_when_all_are_done(self) -> None:
        files = [self._directory / _SAID.format(rank=rank) for rank in range(self._ranks)]
        while not all(file.exists() for file in files):
            if self._is_given_up.wait(_SECONDS_BETWEEN_LOOKS):
                return
        contents: Contents = {}
        for file in files:
            contents |= {name: (size, digest) for name, (size, digest) in json.loads(file.read_text()).items()}
            file.unlink()
        self._failure = self._complete(contents)
