"""Compiled ops: stale locks of killed builds, and the compiler that is not there."""

from __future__ import annotations

import os
import subprocess
import sys

from torch.utils.file_baton import FileBaton

from zerotrain.engine.ops import remove_stale_lock


def test_the_lock_of_a_killed_build_is_removed(tmp_path):
    lock = tmp_path / "lock"
    code = (
        f"import os; from torch.utils.file_baton import FileBaton; FileBaton({str(lock)!r}).try_acquire(); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)

    assert lock.exists(), "torch leaves its lock behind"
    assert remove_stale_lock(lock)
    assert not lock.exists()


def test_the_lock_of_a_build_that_goes_on_is_left_alone(tmp_path):
    lock = tmp_path / "lock"
    baton = FileBaton(str(lock))
    baton.try_acquire()

    removed = remove_stale_lock(lock)

    assert not removed
    assert lock.exists()
    baton.release()


def test_it_is_left_alone_too_when_its_directory_is_reached_through_a_link(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "cache")
    baton = FileBaton(str(tmp_path / "cache" / "lock"))
    baton.try_acquire()

    assert not remove_stale_lock(tmp_path / "link" / "lock")
    baton.release()


def test_where_there_is_no_lock_nothing_happens(tmp_path):
    assert not remove_stale_lock(tmp_path / "lock")
    assert not list(tmp_path.iterdir())


def test_who_needs_nothing_compiled_does_not_wait_for_those_who_compile(tmp_path):
    code = (
        "import fcntl; from zerotrain.engine.ops import build_directory, build_ops, compile_apart; "
        "from zerotrain.hardware.builds import build_root; compile_apart(); "
        "(build_directory('deepspeed_shm_comm') / 'deepspeed_shm_comm.so').touch(); "
        "other = (build_root() / 'zerotrain.lock').open('w'); fcntl.flock(other, fcntl.LOCK_EX); "
        "build_ops({'optimizer': {'type': 'SGD'}, 'zero_optimization': {}}, print); print('went on')"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TORCH_EXTENSIONS_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.stdout.endswith("went on\n"), done.stderr
    assert "waiting" not in done.stdout
