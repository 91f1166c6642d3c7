"""Memory, disks and limits."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from zerotrain.doctor.machine import Directory, Memory, Storage
from zerotrain.doctor.need import Place

_ROOT = Path("/")
_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")
_VERSION_2 = ("memory.max", "memory.current")
"""Files of a control group: the limit, and what is taken of it."""


def storage(places: Sequence[Place]) -> Storage:
    """Returns memory, limits, and the directories the run writes to."""
    shared = Path("/dev/shm")
    return Storage(
        memory=memory(),
        shared_free=shutil.disk_usage(shared).free if shared.is_dir() else None,
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        directories=tuple(directory(place) for place in places),
    )


def memory(root: Path = _ROOT) -> Memory | None:
    """Returns the memory of the machine, or of the container if it may take less; `root` has `proc` and `sys`."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    sizes = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    total, available = sizes["MemTotal"], sizes.get("MemAvailable", sizes["MemFree"])
    limit, free = min(_container(root), default=(total, available))
    return Memory(min(total, limit), limit < total, max(0, min(available, free)))


def _container(root: Path) -> Iterator[tuple[int, int]]:
    """Yields limit and rest of each control group this process is in, from its own to the outermost."""
    try:
        groups = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in groups:
        if controllers in ("", "memory"):
            base = root / "sys/fs/cgroup" / controllers
            names = (
                ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
            )
            own = base / path.strip("/")
            for group in (own, *own.parents):
                if group == base or base in group.parents:
                    yield from _limit(group, *names)


def _limit(group: Path, limit: str, usage: str) -> Iterator[tuple[int, int]]:
    try:
        most = int((group / limit).read_text())
        yield most, most - int((group / usage).read_text())
    except (OSError, ValueError):
        # Not there, or `max`.
        return


def directory(place: Place) -> Directory:
    """Returns what would come of writing there, and creates nothing."""
    there = next((path for path in (place.path, *place.path.parents) if path.exists()), _ROOT)
    return Directory(
        key=place.key,
        purpose=place.purpose,
        path=str(place.path),
        problem=_problem(there),
        filesystem=filesystem(there),
        free=shutil.disk_usage(there).free,
    )


def _problem(path: Path) -> str | None:
    if not path.is_dir():
        return f"`{path}` is a file"
    # Asks the kernel, which knows of read-only file systems too.
    return None if os.access(path, os.W_OK | os.X_OK) else f"`{path}` is not writable"


def filesystem(path: Path) -> str | None:
    """Returns the kind of the file system a path is on."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return None
    real = path.resolve()
    above = [(len(mount[1]), number, mount[2]) for number, mount in enumerate(mounts) if _is_above(mount[1], real)]
    return max(above, default=(0, 0, None))[2]


def _is_above(mount: str, path: Path) -> bool:
    # /proc/mounts writes spaces in octal.
    return path.is_relative_to(mount.replace("\\040", " "))
