"""Where a command runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Surroundings:
    """What relative paths and the default cache start from."""

    directory: Path
    cache: Path
