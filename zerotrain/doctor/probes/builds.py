"""What compiling DeepSpeed's ops takes, and what builds have left behind."""

from __future__ import annotations

import time
from pathlib import Path

from zerotrain.doctor.machine import Builds, Lock
from zerotrain.hardware.builds import build_root
from zerotrain.hardware.probe import compiler, is_open, ninja


def builds() -> Builds:
    """Returns the tools, and the locks in the build directory."""
    return Builds(compiler(), ninja(), locks(build_root()))


def locks(root: Path) -> tuple[Lock, ...]:
    """Returns the locks of all builds below a directory, as deep as torch puts them."""
    found = sorted([*root.glob("*/lock"), *root.glob("*/*/lock")])
    return tuple(lock for path in found if (lock := _lock(path)) is not None)


def _lock(path: Path) -> Lock | None:
    """Returns what is known of a lock; None when it goes away meanwhile."""
    try:
        newest = max(entry.stat().st_mtime for entry in (path, path.parent, *path.parent.iterdir()))
    except OSError:
        return None
    return Lock(str(path), is_open(path), max(0.0, time.time() - newest))
