"""Locks of real builds, as torch makes them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from torch.utils.file_baton import FileBaton

from zerotrain.doctor.probes.builds import builds, locks

DIE = "import os, sys; from torch.utils.file_baton import FileBaton; FileBaton(sys.argv[1]).try_acquire(); os._exit(1)"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    directory = tmp_path / "py311_cpu" / "cpu_adam"
    directory.mkdir(parents=True)
    return directory / "lock"


def test_the_lock_of_a_killed_build_is_held_by_nobody(tmp_path: Path, lock: Path) -> None:
    subprocess.run([sys.executable, "-c", DIE, str(lock)], check=False)
    an_hour_ago = time.time() - 3600
    for path in (lock, lock.parent):
        os.utime(path, (an_hour_ago, an_hour_ago))

    (found,) = locks(tmp_path)
    assert (found.path, found.held) == (str(lock), False)
    assert 3600 <= found.quiet_seconds < 4000


def test_a_file_that_appeared_beside_it_shows_that_something_builds(tmp_path: Path, lock: Path) -> None:
    lock.touch()
    os.utime(lock, (0, 0))
    (lock.parent / "cpu_adam.o").touch()

    assert locks(tmp_path)[0].quiet_seconds < 60


def test_the_lock_of_a_build_that_goes_on_is_held(tmp_path: Path, lock: Path) -> None:
    baton = FileBaton(str(lock))
    baton.try_acquire()

    assert [found.held for found in locks(tmp_path)] == [True]
    baton.release()
    assert locks(tmp_path) == ()


def test_it_is_held_whatever_name_its_directory_is_reached_by(tmp_path: Path, lock: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "py311_cpu")
    baton = FileBaton(str(lock))
    baton.try_acquire()

    assert [found.held for found in locks(tmp_path / "link")] == [True]
    baton.release()


def test_the_tools_are_found_here() -> None:
    found = builds()

    assert found.compiler is not None
    assert found.ninja is not None
