"""Content-addressed directories that are whole or not there."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from zerotrain.data.cache import cache_root, digest, obtain, open_layer
from zerotrain.errors import DataError

KEY = {"of": "what it was built from"}

BUILD_AND_HANG = """
import sys, time
from pathlib import Path
from zerotrain.data.cache import obtain

def build(folder):
    (folder / "half.bin").write_bytes(b"half")
    print("building", flush=True)
    time.sleep(60)

obtain(Path(sys.argv[1]), "layer", {"of": sys.argv[2]}, build, print)
"""


def build(folder: Path) -> dict[str, object]:
    (folder / "numbers.bin").write_bytes(b"12345")
    return {"count": 5}


def refuse(folder: Path) -> dict[str, object]:
    raise AssertionError(f"built again in {folder}")


def start_and_kill(root: Path, of: str) -> None:
    """A builder that dies in the middle, as a job does whose time is up."""
    command = [sys.executable, "-c", BUILD_AND_HANG, str(root), of]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "building\n"
        builder.send_signal(signal.SIGKILL)


def test_a_layer_is_built_once(tmp_path: Path):
    first = obtain(tmp_path, "layer", KEY, build, print)
    second = obtain(tmp_path, "layer", KEY, refuse, print)

    assert first == second
    assert first.facts == {"count": 5}
    assert (first.path / "numbers.bin").read_bytes() == b"12345"


def test_nothing_but_the_layer_is_left(tmp_path: Path):
    layer = obtain(tmp_path, "layer", KEY, build, print)

    assert list((tmp_path / "layer").iterdir()) == [layer.path]
    assert sorted(path.name for path in layer.path.iterdir()) == ["meta.json", "numbers.bin"]


def test_another_key_or_kind_is_another_layer(tmp_path: Path):
    layers = [obtain(tmp_path, kind, {"of": of}, build, print) for kind in ("one", "two") for of in ("x", "y")]

    assert len({layer.name for layer in layers}) == 4


def test_a_failed_build_leaves_nothing(tmp_path: Path):
    def fail(folder: Path) -> dict[str, object]:
        (folder / "half.bin").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        obtain(tmp_path, "layer", KEY, fail, print)

    assert list((tmp_path / "layer").iterdir()) == []
    assert obtain(tmp_path, "layer", KEY, build, print).facts == {"count": 5}


def test_what_a_killed_builder_left_is_never_used_and_the_next_builder_removes_it(tmp_path: Path):
    start_and_kill(tmp_path, KEY["of"])
    (left,) = (tmp_path / "layer").glob("*.building")
    assert (left / "half.bin").exists()

    layer = obtain(tmp_path, "layer", KEY, build, print)

    assert sorted(path.name for path in layer.path.iterdir()) == ["meta.json", "numbers.bin"]
    assert list((tmp_path / "layer").iterdir()) == [layer.path]


def test_leftovers_of_other_layers_are_removed_too(tmp_path: Path):
    start_and_kill(tmp_path, "something that is never asked for again")

    layer = obtain(tmp_path, "layer", KEY, build, print)

    assert list((tmp_path / "layer").iterdir()) == [layer.path]


def test_a_builder_that_lives_is_left_alone_and_waited_for(tmp_path: Path):
    said: list[str] = []
    entered, leave = threading.Event(), threading.Event()

    def slow(folder: Path) -> dict[str, object]:
        entered.set()
        leave.wait(30)
        return build(folder)

    def heard(line: str) -> None:
        said.append(line)
        leave.set()

    builder = threading.Thread(target=obtain, args=(tmp_path, "layer", KEY, slow, print))
    builder.start()
    entered.wait(30)
    obtain(tmp_path, "layer", {"of": "another"}, build, print)
    layer = obtain(tmp_path, "layer", KEY, refuse, heard)
    builder.join()

    assert layer.facts == {"count": 5}
    assert said == [f"waiting for another process that prepares {layer.name[:12]}"]


def test_a_lock_whose_file_was_removed_is_taken_anew(tmp_path: Path):
    target = tmp_path / "layer" / digest({"format": 1, "kind": "layer", "key": KEY})
    target.parent.mkdir()
    lock = target.with_name(f"{target.name}.lock")
    handle = os.open(lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)

    def let_go(line: str) -> None:
        lock.unlink()
        os.close(handle)

    assert obtain(tmp_path, "layer", KEY, build, let_go).path == target
    assert not lock.exists()


@pytest.mark.parametrize(
    ("damage", "fact"),
    [
        (lambda path: (path / "numbers.bin").write_bytes(b"1234"), "`numbers.bin` has 4 bytes, not 5"),
        (lambda path: (path / "numbers.bin").unlink(), "`numbers.bin` is missing"),
        (lambda path: (path / "meta.json").unlink(), "its `meta.json` cannot be read"),
        (lambda path: (path / "meta.json").write_text("{"), "its `meta.json` cannot be read"),
        (lambda path: (path / "meta.json").write_text("[]"), "its `meta.json` cannot be read"),
    ],
)
def test_a_damaged_layer_is_refused_with_the_directory_to_delete(tmp_path: Path, damage, fact: str):
    layer = obtain(tmp_path, "layer", KEY, build, print)
    damage(layer.path)

    for read in (lambda: open_layer(layer.path, "layer"), lambda: obtain(tmp_path, "layer", KEY, refuse, print)):
        with pytest.raises(DataError, match="ZT608 damaged-store") as caught:
            read()
        (problem,) = caught.value.findings
        assert fact in problem.message
        assert problem.help == f"delete the directory `{layer.path}` and prepare the data again"


def test_a_cache_that_cannot_be_made_is_a_finding(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(DataError, match="ZT605 unwritable-cache") as caught:
        obtain(tmp_path / "file", "layer", KEY, build, print)

    (problem,) = caught.value.findings
    assert problem.place.key == "data.cache"
    assert problem.message == f"prepared data cannot be written to `{tmp_path}/file`: not a directory"


def test_a_cache_without_permission_is_a_finding_but_what_is_in_it_is_used():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        there = obtain(root, "layer", KEY, build, print)
        (root / "layer").chmod(0o555)
        was_root = os.geteuid() == 0
        if was_root:
            os.seteuid(65534)
        try:
            assert obtain(root, "layer", KEY, refuse, print) == there
            with pytest.raises(DataError, match=r"ZT605 .*permission denied"):
                obtain(root, "layer", {"of": "something new"}, build, print)
        finally:
            if was_root:
                os.seteuid(0)
            (root / "layer").chmod(0o755)


def test_the_default_cache_is_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch/me")
    assert cache_root("auto") == Path("/scratch/me/zerotrain/data")

    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert cache_root("auto") == Path.home() / ".cache/zerotrain/data"

    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root("auto") == Path.home() / ".cache/zerotrain/data"


def test_a_given_cache_may_start_at_the_home_directory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/me")

    assert cache_root("~/prepared") == Path("/home/me/prepared")
    assert cache_root("prepared") == Path.cwd() / "prepared"


def test_a_layer_of_another_kind_is_refused(tmp_path: Path):
    layer = obtain(tmp_path, "layer", KEY, build, print)

    with pytest.raises(DataError, match="it holds `layer`, not `samples`"):
        open_layer(layer.path, "samples")
