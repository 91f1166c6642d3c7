"""What the machine says about itself."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from zerotrain.hardware.probe import (
    compiler,
    cpu_count,
    descendants,
    free_port,
    git_state,
    is_open,
    surroundings,
    way_to,
)


def git(directory: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=directory, check=True, capture_output=True)


def tool(folder: Path, name: str) -> Path:
    file = folder / name
    file.write_text("#!/bin/sh\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def test_relative_paths_start_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert surroundings().directory == tmp_path


def test_the_cache_is_where_the_user_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert surroundings().cache == tmp_path / "zerotrain"


@pytest.mark.parametrize("unset", [True, False])
def test_the_cache_is_in_the_home_directory_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unset: bool
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False) if unset else monkeypatch.setenv("XDG_CACHE_HOME", "")

    assert surroundings().cache == tmp_path / ".cache" / "zerotrain"


def test_a_user_without_a_home_can_work_too(monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a container that runs under a number nobody has entered into /etc/passwd.
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2_000_000_011)

    assert surroundings().cache.name == "zerotrain"


def test_only_processors_that_this_process_may_use_count() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})

        assert cpu_count() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert cpu_count() == len(before)


def test_a_free_port_can_be_listened_on() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))


def test_the_compiler_of_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("g++", "c++", "clang++"):
        tool(tmp_path, name)
    monkeypatch.setenv("PATH", str(tmp_path))

    monkeypatch.setenv("CXX", "clang++")
    assert compiler() == str(tmp_path / "clang++")
    monkeypatch.setenv("CXX", str(tmp_path / "c++"))
    assert compiler() == str(tmp_path / "c++")
    monkeypatch.setenv("CXX", "gone++")
    assert compiler() is None
    monkeypatch.delenv("CXX")
    assert compiler() == str(tmp_path / "g++")
    (tmp_path / "g++").unlink()
    assert compiler() == str(tmp_path / "c++")
    (tmp_path / "c++").unlink()
    assert compiler() is None


def test_a_compiler_may_have_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ccache", "g++"):
        tool(tmp_path, name)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "ccache g++")

    assert compiler() is not None


def test_a_directory_outside_a_working_tree_has_no_commit(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None
    assert git_state(tmp_path / "gone") is None


def test_a_working_tree_has_a_commit_and_may_have_changes(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert git_state(tmp_path) is None
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "first")
    state = git_state(tmp_path)
    (tmp_path / "new.txt").write_text("x")
    changed = git_state(tmp_path)

    assert state is not None
    assert changed is not None
    assert (len(str(state["commit"])), state["dirty"]) == (40, False)
    assert changed == {**state, "dirty": True}


def test_a_file_is_open_as_long_as_a_process_has_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with file.open("w"):
        assert is_open(file)
    assert not is_open(file)
    assert not is_open(tmp_path / "gone")


def test_on_the_way_to_itself_a_machine_has_the_host_s_address() -> None:
    assert way_to("localhost") == ("127.0.0.1", "127.0.0.1")
    assert way_to("no-such-host.invalid") is None


def test_descendants_are_children_and_their_children() -> None:
    shell = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
    assert shell.stdout is not None
    child = int(shell.stdout.readline())

    assert descendants(os.getpid()) >= {shell.pid, child}
    assert descendants(shell.pid) == {child}
    os.kill(child, 9)
    shell.communicate()
