"""The errors zerotrain raises for what a user can cause; each carries findings, never only a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from zerotrain.diagnostic import Diagnostic


class ZerotrainError(Exception):
    """Something a user can put right. The findings say what, where and how."""

    def __init__(self, *findings: Diagnostic) -> None:
        self.findings: Sequence[Diagnostic] = findings
        super().__init__("\n".join(f"{f.code} {f.name}: {f.message}" for f in findings))

    def __reduce__(self) -> tuple[type, tuple[Diagnostic, ...]]:
        return type(self), tuple(self.findings)


class SpecError(ZerotrainError):
    """The spec cannot be read, or cannot be settled."""


class RunError(ZerotrainError):
    """The run directory is missing, damaged, or holds another run."""


class DataError(ZerotrainError):
    """The data cannot be read or is of no use."""


class CheckpointError(ZerotrainError):
    """A checkpoint or an export cannot be written, read or trusted."""


class EngineError(ZerotrainError):
    """The engine is not in the state that was asked for."""


class LaunchError(ZerotrainError):
    """The workers cannot be started, or did not end well."""


def reason_of(failure: Exception) -> str:
    """What the operating system says of a failure, in the middle of a sentence: without its path and error number."""
    return (getattr(failure, "strerror", None) or str(failure)).lower()
