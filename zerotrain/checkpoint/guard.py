"""Lets a failing write on one rank be noticed by all, instead of leaving the others in a barrier."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deepspeed import DeepSpeedEngine

from zerotrain.errors import reason_of


class WriteGuard:
    """Notes the first error of the writes it guards."""

    def __init__(self) -> None:
        self.failure: str | None = None
        self.written: list[Path] = []
        """Files that this rank has written."""

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
def guarded(engine: DeepSpeedEngine) -> Generator[WriteGuard]:
    """Guards everything `engine.save_checkpoint` writes on this rank.

    DeepSpeed writes through `engine.checkpoint_engine.save`, copies a script with `_copy_recovery_script`, and meets
    the other ranks in a barrier; an error before that would leave them waiting there.
    """
    guard = WriteGuard()
    writer: Any = engine.checkpoint_engine
    save, copy_script = writer.save, engine._copy_recovery_script

    def guarded_save(state_dict: Any, path: str, *arguments: Any, **named: Any) -> None:
        with guard.noting():
            save(state_dict, path, *arguments, **named)
            guard.written.append(Path(path))

    def guarded_copy(*arguments: Any, **named: Any) -> None:
        with guard.noting():
            copy_script(*arguments, **named)

    writer.save, engine._copy_recovery_script = guarded_save, guarded_copy
    try:
        yield guard
    finally:
        del writer.save
        del engine._copy_recovery_script
