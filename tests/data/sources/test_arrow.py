"""Parquet files, saved datasets and datasets of the hub as sources."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as Pillow

Read = Any

ROWS = [{"text": f"text {number}", "label": number % 3} for number in range(2500)]


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps copies that `datasets` makes in the folder of the test."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")
    datasets.disable_progress_bars()


def parquet(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    path.parent.mkdir(exist_ok=True)
    Dataset.from_list(rows).to_parquet(path)
    return path


def fields(records: list[Any]) -> list[dict[str, Any]]:
    return [dict(record.fields) for record in records]


def png() -> bytes:
    file = io.BytesIO()
    Pillow.new("L", (3, 2), 7).save(file, "PNG")
    return file.getvalue()


def test_parquet_files_follow_each_other(tmp_path: Path, read: Read):
    first, second = parquet(tmp_path / "0.parquet"), parquet(tmp_path / "1.parquet", ROWS[:2])

    records, problems = read("parquet", tmp_path / "*.parquet")

    assert fields(records) == ROWS + ROWS[:2]
    assert [records[index].name for index in (0, 2499, 2500)] == [f"{first}:0", f"{first}:2499", f"{second}:0"]
    assert problems == []


def test_a_broken_parquet_file_is_a_finding(tmp_path: Path, read: Read):
    path = parquet(tmp_path / "0.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    (tmp_path / "1.parquet").write_text("text")

    _, problems = read("parquet", tmp_path / "*.parquet")

    assert [(problem.code, problem.place.key) for problem in problems] == [("ZT604", "data.train[0].path")] * 2
    assert "\n" not in problems[0].message


@pytest.mark.parametrize("type", ["parquet", "arrow", "hub"])
def test_a_column_that_is_not_there_is_one_finding(tmp_path: Path, read: Read, type: str):
    path = parquet(tmp_path / "data" / "train.parquet")
    if type == "arrow":
        Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    place = {"parquet": path, "arrow": tmp_path / "saved", "hub": tmp_path / "data"}[type]

    records, (problem,) = read(type, place, columns={"text": "txet"})

    assert records == []
    assert (problem.code, problem.place.key) == ("ZT632", "data.train[0].columns.text")
    assert problem.help == "did you mean `text`?"


def test_a_saved_dataset_is_read_in_its_order(tmp_path: Path, read: Read):
    Dataset.from_list(ROWS).shuffle(seed=1).save_to_disk(tmp_path / "saved")

    records, problems = read("arrow", tmp_path / "saved")

    assert fields(records) == Dataset.from_list(ROWS).shuffle(seed=1).to_list()
    assert problems == []


def test_a_split_of_a_saved_dataset(tmp_path: Path, read: Read):
    splits: Any = {"train": Dataset.from_list(ROWS), "test": Dataset.from_list(ROWS[:5])}
    DatasetDict(splits).save_to_disk(tmp_path / "saved")

    assert fields(read("arrow", tmp_path / "saved", split="test")[0]) == ROWS[:5]
    _, (wrong,) = read("arrow", tmp_path / "saved", split="tset")
    _, (none,) = read("arrow", tmp_path / "saved")
    assert (wrong.code, wrong.place.key, wrong.help) == ("ZT633", "data.train[0].split", "did you mean `test`?")
    assert (none.code, none.place.key, none.help) == ("ZT633", "data.train[0]", "set `split` to `train` or `test`")


def test_one_saved_dataset_has_no_splits(tmp_path: Path, read: Read):
    Dataset.from_list(ROWS[:5]).save_to_disk(tmp_path / "saved")

    _, (problem,) = read("arrow", tmp_path / "saved", split="train")

    assert (problem.code, problem.help) == ("ZT633", "remove `split`")


@pytest.mark.parametrize("content", [None, "a folder", "a file"])
def test_what_was_not_saved_by_datasets_is_a_finding(tmp_path: Path, read: Read, content: str | None):
    if content == "a folder":
        (tmp_path / "saved").mkdir()
    elif content:
        (tmp_path / "saved").write_text("text")

    _, (problem,) = read("arrow", tmp_path / "saved")

    assert problem.code == ("ZT604" if content else "ZT601")
    assert problem.place.key == "data.train[0].path"


@pytest.mark.parametrize("streaming", [False, True])
def test_a_folder_is_read_as_a_dataset_of_the_hub(tmp_path: Path, read: Read, streaming: bool):
    parquet(tmp_path / "data" / "train.parquet")
    parquet(tmp_path / "data" / "test.parquet", ROWS[:7])

    assert fields(read("hub", tmp_path / "data", streaming=streaming)[0]) == ROWS
    assert fields(read("hub", tmp_path / "data", split="test", streaming=streaming, max_documents=2)[0]) == ROWS[:2]
    _, (problem,) = read("hub", tmp_path / "data", split="tets", streaming=streaming)
    assert (problem.code, problem.help) == ("ZT633", "did you mean `test`?")


def test_a_piece_of_a_split(tmp_path: Path, read: Read):
    parquet(tmp_path / "data" / "train.parquet")

    assert fields(read("hub", tmp_path / "data", split="train[10:12]")[0]) == ROWS[10:12]


def test_parts_are_disjoint_and_together_everything(tmp_path: Path, read: Read):
    parquet(tmp_path / "data" / "train.parquet")

    train, validation = (fields(read("hub", tmp_path / "data", part=part)[0]) for part in ("train", "validation"))

    assert sorted(train + validation, key=str) == sorted(ROWS, key=str)
    assert 80 < len(validation) < 170


def test_a_folder_that_is_not_there_or_has_no_data_is_a_finding(tmp_path: Path, read: Read):
    (tmp_path / "empty").mkdir()

    _, (missing,) = read("hub", tmp_path / "nowhere")
    _, (empty,) = read("hub", tmp_path / "empty")
    _, (subset,) = read("hub", parquet(tmp_path / "data" / "train.parquet").parent, subset="english")

    assert (missing.code, missing.place.key) == ("ZT601", "data.train[0].id")
    assert (empty.code, empty.place.key) == ("ZT634", "data.train[0]")
    assert "doesn't contain any data files" in empty.message
    assert "Available: ['default']" in subset.message


def test_a_hub_that_cannot_be_reached_is_a_finding(tmp_path: Path):
    code = """
from zerotrain.data.sources.arrow import hub
from zerotrain.spec.sources import HubSource
problems = []
print(list(hub(HubSource(type="hub", id="nobody/nothing"), "data.train[0]", problems)))
print([(problem.code, problem.message) for problem in problems])
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)

    assert done.stdout.startswith("[]\n[('ZT634', \"the dataset `nobody/nothing` cannot be loaded: ")


def test_images_are_the_bytes_of_their_files(tmp_path: Path, read: Read):
    (tmp_path / "1.png").write_bytes(png())
    types = Features({"image": Image(), "label": ClassLabel(names=["cat", "dog"]), "text": Value("string")})
    columns = {"image": [str(tmp_path / "1.png"), {"bytes": png(), "path": None}], "label": [0, 1], "text": ["a", None]}
    dataset = Dataset.from_dict(columns, features=types)
    dataset.save_to_disk(tmp_path / "saved")
    (tmp_path / "data").mkdir()
    dataset.to_parquet(tmp_path / "data" / "train.parquet")
    expected = [{"image": png(), "label": 0, "text": "a"}, {"image": png(), "label": 1, "text": None}]

    assert fields(read("arrow", tmp_path / "saved")[0]) == expected
    assert fields(read("parquet", tmp_path / "data" / "train.parquet")[0]) == expected
    assert fields(read("hub", tmp_path / "data")[0]) == expected
    assert fields(read("hub", tmp_path / "data", streaming=True)[0]) == expected
