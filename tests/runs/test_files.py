"""A reader sees the old content or the new."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from zerotrain.runs.files import sync, write_json, write_text


def test_a_file_is_written_and_written_again(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    for text in ("first\n", "é 😀\n", ""):
        write_text(file, text)

        assert file.read_text(encoding="utf-8") == text
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_json_is_indented_and_ends_its_line(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": [None, "é"]})

    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {"b": 1, "a": [None, "é"]}
    assert text.startswith('{\n  "b": 1,')
    assert text.endswith("}\n")


def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_text(file, "old")

    with pytest.raises(UnicodeEncodeError):
        write_text(file, "new \ud800")
    with pytest.raises(TypeError):
        write_json(file, {"a": object()})
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_directory_in_the_way_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()

    with pytest.raises(OSError):
        write_text(tmp_path / "a", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    file, texts = tmp_path / "a.txt", ["a" * 100_000, "b" * 50_000]
    write_text(file, texts[0])
    stop = threading.Event()
    seen: set[str] = set()

    def read() -> None:
        while not stop.is_set():
            seen.add(file.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for index in range(50):
        write_text(file, texts[index % 2])
    stop.set()
    reader.join()

    assert seen <= set(texts)


def test_several_processes_may_write_the_same_file(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from zerotrain.runs.files import write_text\n"
        "[write_text(Path(sys.argv[1]), sys.argv[2] * 10_000) for _ in range(20)]"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "a"), letter]) for letter in "xyz"]

    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert (tmp_path / "a").read_text() in {letter * 10_000 for letter in "xyz"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_syncing_a_directory_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    sync(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "gone")
