"""Memory, disks and limits of this machine."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from zerotrain.doctor.need import Place
from zerotrain.doctor.probes.storage import directory, filesystem, memory, storage

GIB = 2**30
MEMINFO = "MemTotal: 16777216 kB\nMemFree: 1048576 kB\nMemAvailable: 8388608 kB\n"


def machine(root: Path, group: str, files: dict[str, str]) -> Path:
    """Writes what the kernel shows of a machine with 16 GiB and a control group."""
    for name, text in {"proc/meminfo": MEMINFO, "proc/self/cgroup": group, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_memory_is_that_of_the_machine() -> None:
    found = memory()

    assert found is not None
    assert found.limit <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < found.available <= found.limit


def test_a_container_may_take_less(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/a/memory.max": str(4 * GIB),
        "sys/fs/cgroup/a/memory.current": str(3 * GIB),
        "sys/fs/cgroup/a/b/memory.max": "max\n",
        "sys/fs/cgroup/a/b/memory.current": "1",
    }
    found = memory(machine(tmp_path, "0::/a/b\n", files))

    assert found is not None
    assert (found.limit, found.is_container_limit, found.available) == (4 * GIB, True, GIB)


def test_a_container_of_the_older_kind_too(tmp_path: Path) -> None:
    base = "sys/fs/cgroup/memory"
    files = {f"{base}/memory.limit_in_bytes": str(2 * GIB), f"{base}/memory.usage_in_bytes": "0"}
    found = memory(machine(tmp_path, "5:cpu:/\n4:memory:/\n", files))

    assert found is not None
    assert (found.limit, found.available) == (2 * GIB, 2 * GIB)


def test_without_a_limit_the_machine_counts(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "1"}
    found = memory(machine(tmp_path, "0::/\n", files))

    assert found is not None
    assert (found.limit, found.is_container_limit, found.available) == (16 * GIB, False, 8 * GIB)


def test_looking_at_a_directory_that_is_not_there_creates_nothing(tmp_path: Path) -> None:
    found = directory(Place("name", "checkpoints", tmp_path / "runs" / "deep"))

    assert (found.problem, found.path) == (None, str(tmp_path / "runs" / "deep"))
    assert found.free > 0
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_its_place_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()

    assert directory(Place(None, "runs", tmp_path / "runs" / "x")).problem == f"`{tmp_path / 'runs'}` is a file"


@pytest.mark.skipif(not Path("/proc/sys").is_dir(), reason="only Linux has it")
def test_what_even_root_cannot_write_is_a_problem() -> None:
    assert directory(Place(None, "runs", Path("/proc/1/runs"))).problem is not None


def test_the_kind_of_a_file_system() -> None:
    assert filesystem(Path("/proc/self")) == "proc"
    assert filesystem(Path("/dev/shm")) == "tmpfs"


def test_the_limit_of_open_files_is_the_one_in_force() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    code = "from zerotrain.doctor.probes.storage import storage; print(storage(()).open_files)"
    lowered = ["sh", "-c", 'ulimit -S -n 100; exec "$0" "$@"', sys.executable, "-c", code]

    assert storage(()).open_files == soft
    assert subprocess.run(lowered, capture_output=True, text=True, check=True).stdout == "100\n"
