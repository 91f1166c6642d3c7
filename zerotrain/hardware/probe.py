"""What this machine is and has. The one light module, besides `load` and `runs`, that looks at the machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from zerotrain.hardware.surroundings import Surroundings


def surroundings() -> Surroundings:
    """Returns the working directory, and the user's cache and home directories.

    A user without a home, as in a container that runs under a number of its own, has the cache where temporary files
    are.
    """
    home = _home()
    usual = home / ".cache" if home else Path(tempfile.gettempdir())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or usual)
    return Surroundings(directory=Path.cwd(), cache=cache / "zerotrain", home=home)


def cpu_count() -> int:
    """Returns the number of processors this process may use."""
    return len(os.sched_getaffinity(0))


def compiler() -> str | None:
    """Returns the path of a C++ compiler, or of what `CXX` runs it with, such as ccache; None when there is none."""
    chosen = os.environ.get("CXX", "").split()
    return shutil.which(chosen[0]) if chosen else shutil.which("g++") or shutil.which("c++")


def ninja() -> str | None:
    """Returns the path of ninja, which pip installs beside the interpreter."""
    return shutil.which("ninja", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))


def descendants(pid: int) -> set[int]:
    """Returns the processes that a process has started, and those they have."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    found, young = set[int](), {pid}
    while young:
        young = {child for child, parent in parents.items() if parent in young}
        found |= young
    return found


def way_to(host: str) -> tuple[str, str] | None:
    """Returns this machine's address on the way to a host and the host's own; nothing is sent.

    They are the same when the host is this machine; None when nobody knows the host, or no way to it.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
            way.connect((host, 9))
            return way.getsockname()[0], way.getpeername()[0]
    except OSError:
        return None


def free_port() -> int:
    """Returns a port of this machine that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def is_open(file: Path) -> bool:
    """Tells whether a process of this machine has a file open, as far as this user may know."""
    real = file.resolve()
    return any(_has_open(process, real) for process in Path("/proc").glob("[0-9]*"))


def git_state(directory: Path) -> dict[str, object] | None:
    """Returns the commit of a working tree and whether it has uncommitted changes, or None outside one."""
    commit = _git(directory, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_git(directory, "status", "--porcelain"))}


def _has_open(process: Path, file: Path) -> bool:
    try:
        return any(handle.readlink() == file for handle in (process / "fd").iterdir())
    except OSError:
        return False


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:
        return None


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=directory, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
