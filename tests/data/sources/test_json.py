"""Lines and lists of JSON as sources."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

Read = Any

THREE = [{"text": f"text {number}"} for number in range(3)]


def lines(*values: object) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def faults(records: list[Any]) -> list[tuple[str, str] | None]:
    return [record.fault and (record.fault.code, record.fault.fact) for record in records]


def test_a_line_is_a_record_named_by_file_and_line(tmp_path: Path, read: Read):
    path = tmp_path / "a.jsonl"
    path.write_text("\ufeff" + lines(THREE[0]) + "\r\n  \n" + lines(THREE[1]) + json.dumps(THREE[2]))

    records, problems = read("jsonl", path)

    assert [dict(record.fields) for record in records] == THREE
    assert [record.name for record in records] == [f"{path}:{number}" for number in (1, 4, 5)]
    assert problems == []


def test_a_packed_file_is_read_as_it_was(tmp_path: Path, read: Read):
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write(lines(*THREE))

    records, problems = read("jsonl", tmp_path / "a.jsonl.gz")

    assert [dict(record.fields) for record in records] == THREE
    assert problems == []


def test_a_packed_file_that_is_cut_off_is_a_finding(tmp_path: Path, read: Read):
    whole = gzip.compress(lines(*THREE).encode())
    (tmp_path / "a.jsonl.gz").write_bytes(whole[:-12])
    (tmp_path / "b.jsonl.gz").write_text(lines(*THREE))

    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        _, (problem,) = read("jsonl", tmp_path / name)
        assert (problem.code, problem.place.key) == ("ZT604", "data.train[0].path")


def test_broken_lines_are_faults_and_the_lines_after_them_are_read(tmp_path: Path, read: Read):
    (tmp_path / "a.jsonl").write_text('{"text": "cut off\n[1]\n"text"\n' + "[" * 200_000 + "\n" + lines(THREE[0]))

    records, problems = read("jsonl", tmp_path / "a.jsonl")
    found = faults(records)

    assert found[0] is not None
    assert found[0][0] == "ZT614"
    assert "is not JSON: " in found[0][1]
    assert found[1:3] == [("ZT614", f"is not a JSON object but {kind}") for kind in ("list", "str")]
    assert found[3] is not None
    assert found[4] is None
    assert problems == []


def test_bytes_that_are_not_utf8_are_a_finding_with_their_place(tmp_path: Path, read: Read):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}\n{"text": "caf\xe9"}\n')

    records, (problem,) = read("jsonl", tmp_path / "a.jsonl")

    assert len(records) == 1
    assert problem.code == "ZT602"
    assert "byte 0xe9 at offset 27, line 2" in problem.message


def test_a_file_is_not_read_further_than_is_needed(tmp_path: Path, read: Read):
    (tmp_path / "a.jsonl").write_bytes(lines(*THREE).encode() * 100_000 + b"\xff\n")

    records, problems = read("jsonl", tmp_path / "a.jsonl", max_documents=2)

    assert [dict(record.fields) for record in records] == THREE[:2]
    assert problems == []


@pytest.mark.parametrize("type", ["jsonl", "json"])
def test_a_column_that_no_record_has_is_one_finding(tmp_path: Path, read: Read, type: str):
    values = [{"review": "good", "stars": 5}] * 50
    (tmp_path / "a").write_text(lines(*values) if type == "jsonl" else json.dumps(values))

    _, (problem,) = read(type, tmp_path / "a", columns={"text": "reveiw", "label": "stars"})

    assert (problem.code, problem.place.key) == ("ZT632", "data.train[0].columns.text")
    assert problem.message == f"`{tmp_path}/a` has no column `reveiw`, only `review` and `stars`"
    assert problem.help == "did you mean `review`?"


def test_a_column_that_some_records_have_is_no_finding(tmp_path: Path, read: Read):
    (tmp_path / "a").write_text(lines({"text": "a"}, {"text": "a", "context": "b"}))

    assert read("jsonl", tmp_path / "a", columns={"text_pair": "context"})[1] == []


@pytest.mark.parametrize("type", ["jsonl", "json"])
def test_copies_are_in_one_split(tmp_path: Path, read: Read, type: str):
    values = [{"text": f"number {number}"} for number in range(200)] * 2
    (tmp_path / "a").write_text(lines(*values) if type == "jsonl" else json.dumps(values))

    train, validation = (read(type, tmp_path / "a", split=split)[0] for split in ("train", "validation"))
    texts = [{record.fields["text"] for record in records} for records in (train, validation)]

    assert len(train) + len(validation) == 400
    assert texts[0].isdisjoint(texts[1])
    assert len(texts[1]) * 2 == len(validation) > 0


@pytest.mark.parametrize(
    "text",
    [
        '[\n {"text": "a"},\n\n {"text": "b\\n"}]',
        '\ufeff{"version": {"data": [0]},\n "data": [{"text": "a"},\n\n{"text": "b\\n"}\n], "more": 1}',
    ],
)
def test_the_elements_of_a_list_are_named_by_their_lines(tmp_path: Path, read: Read, text: str):
    path = tmp_path / "a.json"
    path.write_text(text)

    records, problems = read("json", path)

    assert [record.fields for record in records] == [{"text": "a"}, {"text": "b\n"}]
    assert [record.name for record in records] == [f"{path}:2", f"{path}:4"]
    assert problems == []


def test_an_element_that_is_no_object_is_a_fault(tmp_path: Path, read: Read):
    (tmp_path / "a.json").write_text('[{"text": "a"}, 7]')

    assert faults(read("json", tmp_path / "a.json")[0]) == [None, ("ZT614", "is not a JSON object but int")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[{"text": "a"},\n {"text": "b', "line 2 column 11"),
        ('[{"text": "a"}', "expected `]`"),
        ('{"rows": []}', "there is no list under `data`"),
        ('{"data": 3}', "expected `[`"),
        ("7", "expected `[` or `{`"),
        ("", "expected `[` or `{`"),
        ('{"a" 1}', "expected `:`"),
    ],
)
def test_what_is_no_list_to_its_end_is_a_finding(tmp_path: Path, read: Read, text: str, reason: str):
    (tmp_path / "a.json").write_text(text)

    _, (problem,) = read("json", tmp_path / "a.json")

    assert (problem.code, problem.place.key) == ("ZT604", "data.train[0].path")
    assert reason in problem.message


@pytest.mark.parametrize("text", ["[]", '{"data": []}'])
def test_an_empty_list_has_no_record(tmp_path: Path, read: Read, text: str):
    (tmp_path / "a.json").write_text(text)

    assert read("json", tmp_path / "a.json") == ([], [])
