"""A checkpoint without a complete, matching manifest does not exist."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zerotrain.runs.catalogue import (
    Checkpoint,
    Manifest,
    PassedOver,
    altered_files,
    catalogue,
    checksum,
    is_being_read,
    mark_damaged,
    read_checkpoint,
    reading,
    tag_of,
)
from zerotrain.runs.files import write_json
from zerotrain.runs.layout import RunDirectory


def manifest(step: int, files: dict[str, int]) -> Manifest:
    return Manifest(tag_of(step), step, step * 8, step * 256, 1.5, 2, 2, "bf16", "hash", files)


def save(run: RunDirectory, step: int, name: str | None = None) -> Path:
    path = run.checkpoints / (name or tag_of(step))
    (path / "deep").mkdir(parents=True)
    (path / "a.pt").write_bytes(b"12345")
    (path / "deep" / "b.pt").write_bytes(b"")
    write_json(path / "manifest.json", manifest(step, {"a.pt": 5, "deep/b.pt": 0}).as_json())
    return path


def test_what_was_saved_is_found_newest_first(run: RunDirectory) -> None:
    for step in (9, 100, 20):
        save(run, step)
    good, bad = catalogue(run)

    assert [checkpoint.manifest.tag for checkpoint in good] == ["step-100", "step-20", "step-9"]
    assert good[0] == Checkpoint(run.checkpoints / "step-100", manifest(100, {"a.pt": 5, "deep/b.pt": 0}))
    assert bad == []


def test_a_manifest_has_a_version_and_these_keys(run: RunDirectory) -> None:
    content = json.loads((save(run, 3) / "manifest.json").read_text())

    assert list(content) == [
        "version",
        "tag",
        "step",
        "samples",
        "tokens",
        "time",
        "world_size",
        "zero_stage",
        "dtype",
        "convergence_hash",
        "files",
        "frozen_checksum",
        "teacher_checksum",
        "parallel",
        "sha256",
        "identity_hash",
        "data_fingerprint",
        "versions",
        "seed",
        "attempt",
        "loss",
        "lr",
        "scaler",
    ]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: (path / "manifest.json").unlink(), "it has no manifest"),
        (lambda path: (path / "manifest.json").write_text('{"version": 1, "ta'), "its manifest cannot be read"),
        (lambda path: (path / "manifest.json").write_text("{}"), "its manifest cannot be read"),
        (lambda path: (path / "manifest.json").write_text("[]"), "its manifest cannot be read"),
        (lambda path: (path / "manifest.json").write_bytes(b"\xff\xfe"), "its manifest cannot be read"),
        (lambda path: (path / "a.pt").unlink(), "`a.pt` is missing"),
        (lambda path: (path / "a.pt").write_bytes(b"123"), "`a.pt` has 3 of 5 bytes"),
        (lambda path: (path / "a.pt").write_bytes(b"1234567"), "`a.pt` has 7 of 5 bytes"),
        (lambda path: (path / "deep" / "b.pt").unlink(), "`deep/b.pt` is missing"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_with_the_reason(run: RunDirectory, damage: Any, reason: str) -> None:
    save(run, 1)
    damage(save(run, 2))
    good, bad = catalogue(run)

    assert [checkpoint.manifest.step for checkpoint in good] == [1]
    assert bad == [PassedOver(run.checkpoints / "step-2", reason)]


@pytest.mark.parametrize(
    "content",
    [
        None,
        5,
        {**manifest(2, {}).as_json(), "files": None},
        {**manifest(2, {}).as_json(), "more": 1},
    ],
)
def test_a_manifest_of_another_kind_cannot_be_read(run: RunDirectory, content: Any) -> None:
    (save(run, 2) / "manifest.json").write_text(json.dumps(content))

    assert catalogue(run)[1] == [PassedOver(run.checkpoints / "step-2", "its manifest cannot be read")]


def test_a_step_that_is_no_number_cannot_be_read(run: RunDirectory) -> None:
    save(run, 1)
    (save(run, 2) / "manifest.json").write_text(json.dumps({**manifest(2, {}).as_json(), "step": "2"}))

    assert catalogue(run)[1] == [PassedOver(run.checkpoints / "step-2", "its manifest cannot be read")]


def test_one_that_was_never_completed_is_passed_over_though_all_of_it_is_there(run: RunDirectory) -> None:
    path = save(run, 3, "step-3.partial")

    assert read_checkpoint(path) == PassedOver(path, "it was never completed")


def test_files_and_hidden_directories_are_no_checkpoints(run: RunDirectory) -> None:
    save(run, 3, ".step-3.deleted")
    (run.checkpoints / "latest").write_text("step-3")

    assert catalogue(run) == ([], [])


def test_a_run_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert catalogue(RunDirectory(tmp_path / "nothing")) == ([], [])


def test_a_file_more_than_the_manifest_names_does_no_harm(run: RunDirectory) -> None:
    (save(run, 3) / "notes.txt").write_text("mine")

    assert [checkpoint.manifest.step for checkpoint in catalogue(run)[0]] == [3]


def test_an_altered_file_is_found_by_its_checksum(run: RunDirectory) -> None:
    path = save(run, 3)
    sums = {name: checksum(path / name) for name in ("a.pt", "deep/b.pt")}
    checkpoint = Checkpoint(path, replace(manifest(3, {"a.pt": 5, "deep/b.pt": 0}), sha256=sums))
    assert altered_files(checkpoint) == []

    (path / "a.pt").write_bytes(b"12346")

    assert altered_files(checkpoint) == ["a.pt"]
    assert [altered_files(checkpoint, part, 2) for part in range(2)] == [["a.pt"], []]


def test_what_is_marked_as_damaged_is_passed_over_with_the_reason(run: RunDirectory) -> None:
    checkpoint = read_checkpoint(save(run, 3))
    assert isinstance(checkpoint, Checkpoint)

    mark_damaged(checkpoint, "a bit has flipped")

    assert read_checkpoint(checkpoint.path) == PassedOver(checkpoint.path, "a bit has flipped")


def test_a_checkpoint_knows_whether_someone_reads_it(run: RunDirectory) -> None:
    checkpoint = read_checkpoint(save(run, 3))
    assert isinstance(checkpoint, Checkpoint)

    with reading(checkpoint), reading(checkpoint):
        assert is_being_read(checkpoint)
    assert not is_being_read(checkpoint)
