"""Images as a source."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from zerotrain.data.sources.images import images, sklearn_digits
from zerotrain.data.sources.record import Record
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.sources import ImagesSource, SklearnDigitsSource


def draw(path: Path, shade: int, size: tuple[int, int] = (4, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, 0, 0)).save(path)


def read(root: Path, **fields: object) -> tuple[list[Record], list[Diagnostic]]:
    problems: list[Diagnostic] = []
    source = ImagesSource.model_validate({"type": "images", "path": str(root), **fields})
    return list(images(source, "data.train[0]", problems)), problems


def digits(**fields: object) -> list[Record]:
    source = SklearnDigitsSource.model_validate({"type": "sklearn_digits", **fields})
    return list(sklearn_digits(source, "data.train[0]", []))


def test_an_image_is_the_bytes_of_its_file_and_the_name_of_its_folder(tmp_path: Path):
    draw(tmp_path / "dog" / "1.png", 10)
    draw(tmp_path / "cat" / "old" / "2.jpg", 20)

    records, problems = read(tmp_path)

    assert [(record.name, record.fields["label"], record.fault) for record in records] == [
        ("cat/old/2.jpg", "cat", None),
        ("dog/1.png", "dog", None),
    ]
    assert records[1].fields["image"] == (tmp_path / "dog" / "1.png").read_bytes()
    assert problems == []


def test_what_does_not_decode_is_a_fault(tmp_path: Path):
    draw(tmp_path / "cat" / "1.png", 10, (64, 64))
    whole = (tmp_path / "cat" / "1.png").read_bytes()
    (tmp_path / "cat" / "2.png").write_bytes(whole[:60])
    (tmp_path / "cat" / "3.txt").write_text("a cat")
    (tmp_path / "cat" / ".DS_Store").write_text("hidden")

    records, problems = read(tmp_path)
    faults = [record.fault and (record.fault.code, record.fault.fact) for record in records]

    assert faults[0] is None
    assert faults[1] is not None
    assert faults[1][0] == "ZT630"
    assert "truncated" in faults[1][1]
    assert faults[2:] == [("ZT630", "is no image")]
    assert problems == []


def test_an_image_beside_the_folders_is_a_fault(tmp_path: Path):
    draw(tmp_path / "cat" / "1.png", 10)
    draw(tmp_path / "2.png", 10)
    (tmp_path / "README.md").write_text("about")

    first, second = read(tmp_path)[0]

    assert first.fault is not None
    assert (first.name, first.fault.code) == ("2.png", "ZT631")
    assert second.fault is None


def test_copies_of_an_image_are_in_one_split(tmp_path: Path):
    for number in range(60):
        draw(tmp_path / "a" / f"{number}.png", number)
        draw(tmp_path / "b" / f"{number}.png", number)

    train, validation = (read(tmp_path, split=split)[0] for split in ("train", "validation"))
    numbers = [{record.name[2:] for record in records} for records in (train, validation)]

    assert len(train) + len(validation) == 120
    assert numbers[0].isdisjoint(numbers[1])
    assert validation


@pytest.mark.parametrize(
    ("path", "code", "fact"),
    [("missing", "ZT601", "does not exist"), ("file", "ZT604", "not a folder"), ("empty", "ZT601", "no folder with")],
)
def test_a_folder_without_images_is_a_finding(tmp_path: Path, path: str, code: str, fact: str):
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()

    records, (problem,) = read(tmp_path / path)

    assert records == []
    assert (problem.code, problem.place.key) == (code, "data.train[0].path")
    assert fact in problem.message


def test_digits_are_png_files_whose_greys_are_those_of_the_data_set():
    records = digits(split="all", max_documents=20)
    pixels = [np.asarray(Image.open(io.BytesIO(record.fields["image"]))) for record in records]
    expected = load_digits()

    assert all(image.shape == (8, 8) and image.dtype == np.uint8 for image in pixels)
    assert np.array_equal(np.stack(pixels), np.round(expected.images[:20] * 255 / 16))
    assert [record.fields["label"] for record in records] == expected.target[:20].tolist()
    assert all(type(record.fields["label"]) is int for record in records)


def test_digits_are_split_once():
    sizes = [len(digits(split=split)) for split in ("train", "validation", "all")]

    assert sizes[0] + sizes[1] == sizes[2] == 1797
    assert 60 < sizes[1] < 120
