"""Where a command runs, and what the paths in a spec mean there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Surroundings:
    """What relative paths and the default cache start from."""

    directory: Path
    cache: Path
    home: Path | None = None
    """What `~` stands for; None for a user who has no home."""

    def path(self, written: str) -> Path:
        """Returns the absolute path that a path in a spec means."""
        if self.home is not None and (written == "~" or written.startswith("~/")):
            return self.home / written[2:]
        return self.directory / written
