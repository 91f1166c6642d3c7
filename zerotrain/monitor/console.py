"""What the person at the terminal sees, apart from the noise of libraries, which goes to the rank's log."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO


class Console:
    """Lines for a person; on a terminal the last one may be a progress line that is rewritten in place."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._is_terminal = stream is not None and stream.isatty()
        self._unfinished = False

    @property
    def is_terminal(self) -> bool:
        """True when a person watches."""
        return self._is_terminal

    def say(self, text: str) -> None:
        """Writes a line."""
        self._write(f"\r\033[K{text}\n" if self._unfinished else f"{text}\n")
        self._unfinished = False

    def progress(self, text: str) -> None:
        """Rewrites the progress line; does nothing where nobody watches."""
        if self._is_terminal:
            self._write(f"\r\033[K{text}")
            self._unfinished = True

    def _write(self, text: str) -> None:
        """Writes as long as somebody reads: a terminal or an ssh connection may be gone, and training goes on."""
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._stream = None


SILENT = Console(None)
"""The console of every rank but the first."""


def keep_terminal(rank: int) -> Console:
    """Returns the console of a rank on a copy of its standard output, which a later redirection leaves alone."""
    if rank != 0:
        return SILENT
    return Console(os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", errors="replace"))


def redirect_output(log: Path) -> None:
    """Sends everything this process writes to its standard output and error to a file, C++ libraries included."""
    sys.stdout.flush()
    sys.stderr.flush()
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
