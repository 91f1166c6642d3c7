"""A corpus: documents of several sources, and the identity of their text."""

from __future__ import annotations

from pathlib import Path

import pytest

from zerotrain.data.corpus import Corpus, scan
from zerotrain.data.forms.text import TextForm
from zerotrain.diagnostic import Diagnostic
from zerotrain.errors import DataError
from zerotrain.spec.sources import SourceSpec, TextSource
from zerotrain.spec.task import PretrainTask

TEXT = TextForm(PretrainTask())


def sources(*paths: Path) -> list[SourceSpec]:
    return [TextSource(type="text", path=str(path)) for path in paths]


def scanned(*paths: Path) -> tuple[Corpus, list[Diagnostic], list[str]]:
    problems: list[Diagnostic] = []
    said: list[str] = []
    return scan(sources(*paths), "data.train", TEXT, problems, said.append), problems, said


def write(folder: Path, *texts: str) -> Path:
    folder.mkdir(exist_ok=True)
    for number, text in enumerate(texts):
        (folder / f"{number}.txt").write_text(text)
    return folder / "*.txt"


def test_sources_follow_each_other(tmp_path: Path):
    corpus, problems, _ = scanned(write(tmp_path / "b", "b0", "b1"), write(tmp_path / "a", "a0"))

    assert list(corpus.texts()) == ["b0", "b1", "a0"]
    assert (corpus.documents, corpus.bytes, problems) == (3, 6, [])


def test_the_identity_is_of_texts_not_of_names(tmp_path: Path):
    one, _, _ = scanned(write(tmp_path / "one", "x", "y"))
    same, _, _ = scanned(write(tmp_path / "other", "x", "y"))
    joined, _, _ = scanned(write(tmp_path / "joined", "xy"))
    swapped, _, _ = scanned(write(tmp_path / "swapped", "y", "x"))

    assert one.digest == same.digest
    assert len({one.digest, joined.digest, swapped.digest}) == 3


def test_empty_documents_are_skipped_counted_and_named(tmp_path: Path):
    corpus, problems, said = scanned(write(tmp_path / "a", "", "text", "", "", "", ""))

    assert list(corpus.texts()) == ["text"]
    assert problems == []
    names = "; ".join(f"`{tmp_path}/a/{number}.txt` has an empty `text`" for number in (0, 2, 3))
    assert said == [f"warning ZT607 empty-document: 5 records of `data.train[0]` skipped: {names}; and 2 more"]


def test_a_source_of_empty_documents_is_a_finding(tmp_path: Path):
    _, (problem,), said = scanned(write(tmp_path / "a", "", ""))

    assert (problem.code, problem.name, problem.place.key) == ("ZT603", "empty-data", "data.train[0]")
    assert problem.message == "`data.train[0]` has only empty documents (2)"
    assert said[0].endswith(f"`{tmp_path}/a/1.txt` has an empty `text`")


def test_a_split_without_a_document_is_a_finding(tmp_path: Path):
    write(tmp_path / "a", "text")
    problems: list[Diagnostic] = []
    splits = [TextSource(type="text", path=str(tmp_path / "a" / "*"), split=s) for s in ("train", "validation")]

    scan(splits, "data.train", TEXT, problems, print)

    assert [problem.code for problem in problems] == ["ZT603"]
    assert "has no document in its split" in problems[0].message


def test_every_source_is_looked_at(tmp_path: Path):
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    empty = write(tmp_path / "e", "")

    _, problems, _ = scanned(tmp_path / "missing.txt", tmp_path / "latin.txt", tmp_path, empty)

    assert [(p.code, p.place.key) for p in problems] == [
        ("ZT601", "data.train[0].path"),
        ("ZT602", "data.train[1].path"),
        ("ZT604", "data.train[2].path"),
        ("ZT603", "data.train[3]"),
    ]


def test_text_that_changes_after_the_scan_is_refused(tmp_path: Path):
    corpus, _, _ = scanned(write(tmp_path / "a", "one", "two"))
    (tmp_path / "a" / "1.txt").write_text("twO")

    with pytest.raises(DataError, match=r"ZT604 .*`data\.train` cannot be read: its content changed") as caught:
        list(corpus.texts())

    assert caught.value.findings[0].help == "run again when nothing writes to the data"


def test_a_file_that_goes_away_after_the_scan_is_named(tmp_path: Path):
    (tmp_path / "a.txt").write_text("text")
    corpus, _, _ = scanned(tmp_path / "a.txt")
    (tmp_path / "a.txt").unlink()

    with pytest.raises(DataError, match="ZT601"):
        list(corpus.texts())
