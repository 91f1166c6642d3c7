"""Text files as a source."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zerotrain.data.sources.record import Record
from zerotrain.data.sources.text import text
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.sources import TextSource

NOBODY = 65534


def read(path: Path | str, **fields: object) -> tuple[list[Record], list[Diagnostic]]:
    problems: list[Diagnostic] = []
    source = TextSource.model_validate({"type": "text", "path": str(path), **fields})
    return list(text(source, "data.train[0]", problems)), problems


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root reads everything, so root becomes nobody for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_file_is_one_document_byte_for_byte(tmp_path: Path):
    content = "\ufeffone\r\ntwo\n\n\x00 drei äöü 日本\t".encode()
    (tmp_path / "a.txt").write_bytes(content)

    (document,), problems = read(tmp_path / "a.txt")

    assert document.fields["text"].encode() == content
    assert problems == []


def test_a_pattern_is_read_in_the_order_of_paths(tmp_path: Path):
    for name in ("b.txt", "a.txt", "sub/deep/c.txt", "sub/a.txt", "no.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)

    found, problems = read(tmp_path / "**" / "*.txt")

    assert [document.fields["text"] for document in found] == ["a.txt", "b.txt", "sub/a.txt", "sub/deep/c.txt"]
    assert problems == []


def test_a_path_is_relative_to_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.txt").write_text("here")
    monkeypatch.chdir(tmp_path)

    (document,), _ = read("*.txt")

    assert (document.name, document.fields["text"]) == ("a.txt", "here")


def test_a_file_whose_name_looks_like_a_pattern_is_read(tmp_path: Path):
    (tmp_path / "data[1].txt").write_text("brackets")

    (document,), _ = read(tmp_path / "data[1].txt")

    assert document.fields["text"] == "brackets"


def test_splits_go_by_content_so_that_copies_stay_together(tmp_path: Path):
    for number in range(200):
        (tmp_path / f"{number}.txt").write_text(f"document {number // 2}")

    train = {document.fields["text"] for document in read(tmp_path / "*.txt", split="train")[0]}
    validation = {document.fields["text"] for document in read(tmp_path / "*.txt", split="validation")[0]}

    assert len(train) + len(validation) == 100
    assert not train & validation
    assert 1 <= len(validation) <= 15


def test_max_documents_takes_the_first_after_the_split(tmp_path: Path):
    for number in range(30):
        (tmp_path / f"{number:02}.txt").write_text(f"document {number}")

    assert read(tmp_path / "*.txt", split="train", max_documents=7)[0] == read(tmp_path / "*.txt", split="train")[0][:7]


@pytest.mark.parametrize(
    ("wanted", "suggestion"),
    [("corpus/trian.txt", "corpus/train.txt"), ("corpsu/*.txt", "corpus/*.txt"), ("corpus/train.text", "train.txt")],
)
def test_a_missing_file_is_named_with_the_nearest_that_exists(tmp_path: Path, wanted: str, suggestion: str):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "train.txt").write_text("text")

    found, (problem,) = read(tmp_path / wanted)

    assert found == []
    assert (problem.code, problem.name, problem.place.key) == ("ZT601", "missing-data", "data.train[0].path")
    assert str(tmp_path / wanted) in problem.message
    assert problem.help is not None
    assert problem.help.startswith("did you mean `")
    assert problem.help.endswith(f"{suggestion}`?")


def test_a_pattern_without_a_match_is_missing_data(tmp_path: Path):
    _, (problem,) = read(tmp_path / "*.txt")

    assert problem.code == "ZT601"
    assert problem.message == f"`{tmp_path}/*.txt` matches no file"
    assert problem.help == "paths are relative to the directory the command runs in"


def test_a_byte_that_is_not_utf8_is_named_with_its_offset_and_line(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(b"fine\nfine\ncaf\xe9 au lait\n")

    _, (problem,) = read(tmp_path / "a.txt")

    assert (problem.code, problem.name) == ("ZT602", "not-utf8")
    assert problem.message == f"`{tmp_path}/a.txt` is not UTF-8: byte 0xe9 at offset 13, line 3"


def test_every_bad_file_is_found_and_the_good_ones_are_read(tmp_path: Path):
    for number in range(5):
        (tmp_path / f"{number}.txt").write_bytes(b"\xff" if number % 2 else b"good")

    found, problems = read(tmp_path / "*.txt")

    assert len(found) == 3
    assert [problem.code for problem in problems] == ["ZT602", "ZT602"]


def test_a_directory_is_refused_with_the_pattern_that_reads_it(tmp_path: Path):
    _, (problem,) = read(tmp_path)

    assert (problem.code, problem.name) == ("ZT604", "unreadable-data")
    assert "is a directory" in problem.message
    assert problem.help == f"name its files: `{tmp_path}/**/*.txt`"


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")

    _, (problem,) = read(tmp_path / "pipe")

    assert problem.code == "ZT604"
    assert "not a regular file" in problem.message


def test_a_path_that_is_too_long_is_a_finding():
    _, (problem,) = read("x" * 5000)

    assert problem.code == "ZT604"


def test_a_file_without_permission_is_a_finding():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        secret = Path(folder) / "secret.txt"
        secret.write_text("text")
        secret.chmod(0)
        with unprivileged():
            _, (problem,) = read(secret)

    assert (problem.code, problem.place.key) == ("ZT604", "data.train[0].path")
    assert "permission denied" in problem.message


def test_a_folder_without_permission_is_a_finding():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.txt").write_text("text")
        Path(folder).chmod(0)
        with unprivileged():
            _, problems = read(Path(folder) / "a.txt")
        Path(folder).chmod(0o700)

    assert [problem.code for problem in problems] == ["ZT604"]
