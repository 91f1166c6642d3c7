"""Directories elsewhere are complete, or do not exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from zerotrain.checkpoint.places import open_place
from zerotrain.errors import CheckpointError

SEAL = "manifest.json"


@pytest.fixture(params=["directory", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return f"{request.getfixturevalue('bucket')}/runs/tiny"
    return str(tmp_path / "far" / "away") if request.param == "directory" else f"memory://{tmp_path.name}/runs"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "below").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(b"1234")
    (folder / "below" / "more.bin").write_bytes(b"")
    (folder / SEAL).write_text("1")
    return folder


def test_a_place_that_can_be_written_is_left_as_it_was(url):
    place = open_place(url) / "tiny"

    place.probe()

    assert place.files() == {}
    assert place.read("nothing") is None


def test_a_copy_follows_its_source_and_is_made_once(url, source, tmp_path):
    place = open_place(url) / "step-1"

    assert place.put_sealed(source, SEAL)
    assert place.files() == {"weights.bin": 4, "below/more.bin": 0, SEAL: 1}
    assert not place.put_sealed(source, SEAL)
    (source / SEAL).write_text("2")
    (source / "weights.bin").rename(source / "other.bin")
    assert place.put_sealed(source, SEAL)

    assert place.files() == {"other.bin": 4, "below/more.bin": 0, SEAL: 1}
    assert open_place(url).directories() == ["step-1"]
    place.get(place.files(), tmp_path / "back")
    assert (tmp_path / "back" / "other.bin").read_bytes() == b"1234"


def test_a_copy_that_was_cut_short_has_no_seal(url, source, monkeypatch):
    place = open_place(url) / "step-1"
    place.put_sealed(source, SEAL)
    (source / SEAL).write_text("2")
    put, copied = place.system.put_file, []

    def put_one(*arguments, **options):
        if copied:
            raise ConnectionResetError("the line is cut")
        copied.append(arguments)
        return put(*arguments, **options)

    monkeypatch.setattr(place.system, "put_file", put_one)
    with pytest.raises(CheckpointError, match=r"ZT781 unreachable-place: cannot write .*: the line is cut"):
        place.put_sealed(source, SEAL)

    assert copied
    assert place.read(SEAL) is None


def test_a_file_may_grow_while_it_is_copied(url, source, monkeypatch):
    place = open_place(url)
    put = place.system.put_file

    def put_and_write(local, remote, **options):
        put(local, remote, **options)
        with (source / "weights.bin").open("ab") as file:
            file.write(b"another row")

    monkeypatch.setattr(place.system, "put_file", put_and_write)
    place.put(source, ["weights.bin"])

    assert place.files() == {"weights.bin": 4}


def test_what_is_shorter_there_is_no_copy(url, source, monkeypatch):
    place = open_place(url)
    monkeypatch.setattr(place.system, "put_file", lambda local, remote: place.system.pipe_file(remote, b"12"))
    place.system.makedirs(place.root, exist_ok=True)

    with pytest.raises(CheckpointError, match=r"ZT781 .*: `weights.bin` has 2 of 4 bytes"):
        place.put(source, ["weights.bin"])


def test_a_misspelled_bucket_is_not_made(bucket):
    place = open_place(f"{bucket}x/runs")

    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"ZT781 .* the specified bucket does not exist"):
            place.probe()


@pytest.mark.parametrize("url", ["nowhere://runs", "gs://bucket/runs"])
def test_what_nothing_opens_is_refused(url):
    with pytest.raises(CheckpointError, match=f"ZT780 unopenable-place: nothing installed opens `{url}`"):
        open_place(url)
