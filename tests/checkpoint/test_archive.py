"""A run comes back from its archive as it was, or not at all."""

from __future__ import annotations

import json
import shutil

import boto3
import pytest
from transformers import AutoModelForCausalLM

from zerotrain.checkpoint.archive import archive_run, export_to, fetch_run
from zerotrain.checkpoint.places import open_place
from zerotrain.errors import CheckpointError
from zerotrain.runs.catalogue import catalogue
from zerotrain.runs.history import curve
from zerotrain.runs.layout import RunDirectory


@pytest.fixture(scope="module")
def trained(ranks, tmp_path_factory):
    changes = {"checkpoint": {"save_every": "1 steps", "keep_last": 3}, "zero.stage": 2, "export": {}}
    return ranks.train(tmp_path_factory.mktemp("run"), changes, 2).run


@pytest.fixture
def to(tmp_path):
    return f"memory://{tmp_path.name}/runs"


def test_a_run_comes_back_with_its_newest_checkpoint(trained, to, tmp_path):
    newest, older, *_ = catalogue(trained)[0]

    first = archive_run(trained, to, tag=older.manifest.tag)
    second = archive_run(trained, to)
    third = archive_run(trained, to)
    found = fetch_run(f"{to}/{trained.name}", tmp_path / "back")

    assert first == [f"checkpoints/{older.manifest.tag}", "export"]
    assert (second, third) == ([f"checkpoints/{newest.manifest.tag}"], [])
    assert found is not None
    assert found.manifest == newest.manifest
    back = RunDirectory(tmp_path / "back")
    assert curve(back) == curve(trained)
    for name in ("run.json", "resolved.yaml", "ds_config.json", "logs/attempt-1/attempt.json"):
        assert (back.root / name).read_bytes() == (trained.root / name).read_bytes()
    assert [checkpoint.manifest.tag for checkpoint in catalogue(back)[0]] == [newest.manifest.tag]
    assert fetch_run(f"{to}/{trained.name}", tmp_path / "old", older.manifest.tag) is not None


def test_a_checkpoint_that_was_not_copied_to_its_end_does_not_exist(trained, to, tmp_path):
    newest, older, *_ = [checkpoint.manifest.tag for checkpoint in catalogue(trained)[0]]
    archive_run(trained, to, tag=older)
    archive_run(trained, to, tag=newest)
    (open_place(to) / f"{trained.name}/checkpoints/{newest}").remove(["manifest.json"])

    found = fetch_run(f"{to}/{trained.name}", tmp_path / "back")

    assert found is not None
    assert found.manifest.tag == older


@pytest.mark.parametrize("how", ["altered", "shorter"])
def test_a_damaged_copy_is_refused_and_leaves_no_checkpoint(trained, to, tmp_path, how):
    archive_run(trained, to)
    tag = catalogue(trained)[0][0].manifest.tag
    copy = open_place(to) / f"{trained.name}/checkpoints/{tag}"
    name = next(name for name in copy.files() if name.endswith("model_states.pt"))
    content = bytearray(copy.read(name) or b"")
    content[len(content) // 2] ^= 1
    copy.system.pipe_file(f"{copy.root}/{name}", bytes(content if how == "altered" else content[:100]))

    with pytest.raises(CheckpointError, match="ZT711 damaged-checkpoint: the copy"):
        fetch_run(f"{to}/{trained.name}", tmp_path / "back")

    assert list((tmp_path / "back" / "checkpoints").iterdir()) == []


def test_what_is_no_archived_run_and_what_is_in_the_way_are_refused(trained, to, tmp_path):
    archive_run(trained, to)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()

    for refused, code in [
        (lambda: fetch_run(to, tmp_path / "back"), "ZT702 not-a-run"),
        (lambda: fetch_run(f"{to}/{trained.name}", tmp_path / "full"), "ZT712 foreign-directory"),
        (lambda: fetch_run(f"{to}/{trained.name}", tmp_path / "back", "step-99"), "ZT705 nothing-to-resume"),
        (lambda: archive_run(trained, to, tag="step-99"), "ZT705 nothing-to-resume"),
    ]:
        with pytest.raises(CheckpointError, match=code):
            refused()
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("name", ["../../stolen.txt", "logs/../../stolen.txt"])
def test_a_name_that_leads_out_of_the_directory_is_refused(trained, bucket, tmp_path, name):
    archive_run(trained, f"{bucket}/runs")
    boto3.client("s3").put_object(Bucket=bucket.removeprefix("s3://"), Key=f"runs/{trained.name}/{name}", Body=b"x")

    with pytest.raises(CheckpointError, match="ZT786 name-that-leads-out"):
        fetch_run(f"{bucket}/runs/{trained.name}", tmp_path / "runs" / "back")

    assert not list(tmp_path.rglob("stolen.txt"))


def test_a_run_without_checkpoints_can_be_archived(trained, to, tmp_path):
    bare = RunDirectory(tmp_path / "bare")
    shutil.copytree(trained.root, bare.root, ignore=shutil.ignore_patterns("checkpoints", "export"))

    assert archive_run(bare, to) == []
    assert fetch_run(f"{to}/bare", tmp_path / "back") is None
    assert json.loads((tmp_path / "back" / "run.json").read_text()) == json.loads(trained.record.read_text())


def test_an_export_goes_to_a_bucket_and_loads(trained, bucket, tmp_path):
    url = f"{bucket}/models/tiny"

    exported = export_to(url, trained, dtype="bf16")
    export_to(url, trained, dtype="fp32")

    assert exported.dtype == "bf16"
    assert not list(trained.root.glob(".export-*"))
    place = open_place(url)
    place.get(place.files(), tmp_path / "model")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype="auto")
    here = AutoModelForCausalLM.from_pretrained(trained.export, dtype="auto")
    assert all(value.equal(here.state_dict()[name]) for name, value in loaded.state_dict().items())
    place.remove(["zerotrain.json"])
    with pytest.raises(CheckpointError, match="ZT712 foreign-directory"):
        export_to(url, trained)
