"""Lets a failing write on one rank be noticed by all, instead of leaving the others in a barrier."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from deepspeed import DeepSpeedEngine

from zerotrain.checkpoint.snapshot import host_copy
from zerotrain.errors import reason_of

Job = tuple[Any, Path]
"""A state, and the file it goes to."""


class WriteGuard:
    """Notes the first error of the writes it guards; with a list of jobs, puts off what it is given."""

    def __init__(self, save: Callable[..., None] = torch.save, jobs: list[Job] | None = None) -> None:
        self.failure: str | None = None
        self.written: list[Path] = []
        """Files that this rank has written."""
        self._save, self._jobs = save, jobs
        self._copies: dict[tuple[Any, ...], torch.Tensor] = {}

    def write(self, state_dict: Any, path: str | Path, *arguments: Any, **named: Any) -> None:
        """Writes a file, or keeps a copy of the state for later; an error is noted."""
        if self._jobs is not None:
            self._jobs.append((host_copy(state_dict, self._copies), Path(path)))
            return
        with self.noting():
            self._save(state_dict, str(path), *arguments, **named)
            self.written.append(Path(path))

    @contextmanager
    def noting(self) -> Generator[None]:
        """Notes an error instead of raising it."""
        try:
            yield
        except OSError as failure:
            self.failure = self.failure or reason_of(failure)
        except RuntimeError as failure:
            # What torch's file writer raises when the disk is full (caffe2/serialize/inline_container.cc).
            torn = "inline_container" in str(failure) or "PytorchStreamWriter" in str(failure)
            reason = "a file could not be written to its end" if torn else str(failure)
            self.failure = self.failure or reason


@contextmanager
def guarded(engine: DeepSpeedEngine, jobs: list[Job] | None = None) -> Generator[WriteGuard]:
    """Guards everything `engine.save_checkpoint` writes on this rank; with a list of jobs, it is put off.

    DeepSpeed writes through `engine.checkpoint_engine.save`, copies a script with `_copy_recovery_script`, and meets
    the other ranks in a barrier; an error before that would leave them waiting there.
    """
    writer: Any = engine.checkpoint_engine
    copy_script, guard = engine._copy_recovery_script, WriteGuard(writer.save, jobs)

    def guarded_copy(*arguments: Any, **named: Any) -> None:
        with guard.noting():
            copy_script(*arguments, **named)

    writer.save, engine._copy_recovery_script = guard.write, guarded_copy
    try:
        yield guard
    finally:
        del writer.save
        del engine._copy_recovery_script
