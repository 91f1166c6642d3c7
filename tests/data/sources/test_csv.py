"""Tables of text as a source."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from zerotrain.spec.sources import CsvSource

Read = Any


def write(folder: Path, text: str, name: str = "a.csv") -> Path:
    (folder / name).write_text(text, newline="")
    return folder / name


def test_a_row_is_a_record_named_by_its_line(tmp_path: Path, read: Read):
    path = write(tmp_path, '\ufefftext,label\r\na,1\r\n\r\n"b, ""c""\r\nd",2\r\n')

    records, problems = read("csv", path)

    assert [record.fields for record in records] == [{"text": "a", "label": "1"}, {"text": 'b, "c"\r\nd', "label": "2"}]
    assert [record.name for record in records] == [f"{path}:2", f"{path}:5"]
    assert problems == []


def test_tabs_and_a_file_without_header(tmp_path: Path, read: Read):
    path = write(tmp_path, "a, b\t1\nc\t2\n", "a.tsv")

    records, _ = read("csv", path, delimiter="\t", header=False, columns={"text": "0", "label": "1"})

    assert [record.fields for record in records] == [{"0": "a, b", "1": "1"}, {"0": "c", "1": "2"}]


def test_a_packed_table(tmp_path: Path, read: Read):
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write("text\na\n")

    assert [record.fields for record in read("csv", tmp_path / "a.csv.gz")[0]] == [{"text": "a"}]


def test_a_document_may_be_long(tmp_path: Path, read: Read):
    path = write(tmp_path, "text\n" + "a" * 200_000 + "\n")

    (record,), problems = read("csv", path)

    assert (len(record.fields["text"]), record.fault, problems) == (200_000, None, [])


def test_broken_rows_are_faults(tmp_path: Path, read: Read):
    path = write(tmp_path, 'text,label\na\nb,1,2\n"x"y,1\nc,3\n"no end,4\n')

    records, _ = read("csv", path)

    assert [record.fault and record.fault.code for record in records] == ["ZT614", "ZT614", "ZT614", None, "ZT614"]
    assert records[0].fault.fact == "has 1 cells, and the first row has 2"
    assert records[0].name == f"{path}:2"
    assert records[-1].fault.fact == "is no row of a table: unexpected end of data"


def test_a_column_that_is_not_there_is_a_finding(tmp_path: Path, read: Read):
    path = write(tmp_path, "review,stars\na,1\nb,2\n")

    records, (problem,) = read("csv", path, columns={"text": "Review", "label": "stars"})

    assert records == []
    assert (problem.code, problem.place.key) == ("ZT632", "data.train[0].columns.text")
    assert problem.help == "did you mean `review`?"


def test_another_delimiter_is_suspected(tmp_path: Path, read: Read):
    path = write(tmp_path, "text\tlabel\na\t1\n")

    _, (problem,) = read("csv", path, columns={"text": "text"})

    assert problem.help == 'the values may be separated by `delimiter: "\\t"`'


def test_an_empty_table_has_no_record(tmp_path: Path, read: Read):
    assert read("csv", write(tmp_path, "")) == ([], [])
    assert read("csv", write(tmp_path, "text,label\n")) == ([], [])


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n"])
def test_a_delimiter_is_one_character_that_can_delimit(delimiter: str):
    with pytest.raises(ValueError, match="delimiter"):
        CsvSource.model_validate({"type": "csv", "path": "a", "delimiter": delimiter})
