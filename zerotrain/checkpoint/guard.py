"""Lets a failing write on one rank be noticed by all, instead of leaving the others in a barrier."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from deepspeed import DeepSpeedEngine


class WriteGuard:
    """Notes the first error of the writes it guards."""

    def __init__(self) -> None:
        self.failure: Exception | None = None

    @contextmanager
    def noting(self) -> Generator[None]:
        """Notes an error instead of raising it."""
        try:
            yield
        except (OSError, RuntimeError) as failure:
            # torch reports a full disk as a RuntimeError of its file writer.
            self.failure = self.failure or failure


@contextmanager
def guarded(engine: DeepSpeedEngine) -> Generator[WriteGuard]:
    """Guards everything `engine.save_checkpoint` writes on this rank.

    DeepSpeed writes through `engine.checkpoint_engine.save`, copies a script with `_copy_recovery_script`, and meets
    the other ranks in a barrier; an error before that would leave them waiting there.
    """
    guard = WriteGuard()
    writer: Any = engine.checkpoint_engine
    save, copy_script = writer.save, engine._copy_recovery_script

    def guarded_save(*arguments: Any, **named: Any) -> None:
        with guard.noting():
            save(*arguments, **named)

    def guarded_copy(*arguments: Any, **named: Any) -> None:
        with guard.noting():
            copy_script(*arguments, **named)

    writer.save, engine._copy_recovery_script = guarded_save, guarded_copy
    try:
        yield guard
    finally:
        del writer.save
        del engine._copy_recovery_script
