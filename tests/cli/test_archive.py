"""Exports and copies that are made beside training, and what outlives the machine."""

from __future__ import annotations

import json
import shutil

import pytest
from safetensors.torch import load_file

from zerotrain.checkpoint.places import open_place
from zerotrain.runs.attempts import attempts
from zerotrain.runs.history import curve
from zerotrain.runs.layout import RunDirectory


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path / "runs" / "tiny")


def test_a_run_whose_machine_is_lost_goes_on_from_its_archive(write, zerotrain, run, bucket, tmp_path):
    whole = zerotrain("train", write({"horizon": "6 steps"}), "name=whole")
    archive = {"to": f"{bucket}/runs", "every": "2 steps"}
    first = zerotrain("train", write({"horizon": "4 steps", "archive": archive, "export": {}}))
    assert whole.returncode == 0, whole.stderr
    assert first.returncode == 0, first.stderr
    assert "`checkpoints/step-4`, `export` to" in first.stdout
    shutil.rmtree(run.root)

    fetched = zerotrain("fetch", f"{bucket}/runs/tiny")
    second = zerotrain("resume", run.root, "horizon=6 steps", "--accept")

    assert fetched.returncode == 0, fetched.stderr
    assert "with `step-4`" in fetched.stdout
    assert second.returncode == 0, second.stderr
    assert [attempt.number for attempt in attempts(run)] == [1, 2]
    losses = [
        {step: row["loss"] for step, row in curve(one).items()} for one in (run, RunDirectory(tmp_path / "runs/whole"))
    ]
    assert losses[0] == losses[1]
    there = open_place(f"{bucket}/runs/tiny")
    assert {"checkpoints/step-6/manifest.json", "checkpoints/step-4/manifest.json"} <= there.files().keys()
    assert json.loads(there.read("export/zerotrain.json") or b"")["checkpoint"] == "step-6"


def test_exports_are_made_beside_training_and_are_those_of_their_steps(write, zerotrain, run, tmp_path):
    changes = {
        "horizon": "400 steps",
        "hardware.gpus_per_node": 1,
        "checkpoint": {"keep_last": 1},
        "export": {"every": "50 steps", "keep_last": 1, "dtype": "bf16"},
        "archive": {"to": str(tmp_path / "backup")},
    }

    done = zerotrain("train", write(changes))

    assert done.returncode == 0, done.stderr
    assert not list(run.exports.glob(".*"))
    (export,) = run.exports.iterdir()
    signature = json.loads((export / "zerotrain.json").read_text())
    assert (signature["checkpoint"], signature["dtype"]) == (export.name, "bf16")
    assert 50 <= signature["step"] < 400
    weights, last = (load_file(folder / "model.safetensors") for folder in (export, run.export))
    assert weights.keys() == last.keys()
    assert not any(weights[name].equal(last[name]) for name in weights), "it is of an earlier step"
    copied = tmp_path / "backup" / "tiny"
    assert load_file(copied / "exports" / export.name / "model.safetensors").keys() == weights.keys()
    assert (copied / "checkpoints" / "step-400" / "manifest.json").is_file()
    assert [path.name for path in run.checkpoints.glob("step-*")] == ["step-400"], "none is held any more"


def test_an_export_that_fails_is_told_and_training_goes_on(write, start, wait_for, run):
    changes = {"horizon": "400 steps", "hardware.gpus_per_node": 1, "export": {"every": "300 steps"}}
    process = start("train", write(changes))
    wait_for(run.record.exists)
    run.exports.write_text("in the way")

    output, errors = process.communicate(timeout=240)

    assert process.returncode == 0, output + errors
    (told, *_) = [line for line in output.splitlines() if line.startswith("warning[ZT782] failed-errand")]
    assert "the export of `step-" in told
    assert "ZT708" in told
    assert (run.export / "zerotrain.json").is_file()


def test_a_bucket_that_is_not_there_is_found_before_the_first_step(write, zerotrain, run, bucket):
    done = zerotrain("train", write({"archive": {"to": f"{bucket}x/runs"}}))

    assert done.returncode == 1
    assert "error[ZT781] unreachable-place" in done.stderr
    assert done.stderr.count("ZT781") == 1
    assert curve(run) == {}


def test_verbs_that_copy_say_what_they_cannot(write, zerotrain, run, tmp_path):
    assert zerotrain("train", write()).returncode == 0

    nowhere = zerotrain("archive", run.root)
    copied = zerotrain("archive", run.root, "--to", tmp_path / "backup")
    again = zerotrain("archive", run.root, "--to", tmp_path / "backup")
    taken = zerotrain("fetch", tmp_path / "backup" / "tiny")
    unknown = zerotrain("fetch", tmp_path / "backup")
    exported = zerotrain("export", run.root, "-o", f"file://{tmp_path}/model")

    assert (nowhere.returncode, copied.returncode, again.returncode) == (1, 0, 0)
    assert "error[ZT783] no-archive" in nowhere.stderr
    assert copied.stdout == f"copied `checkpoints/step-3` to `{tmp_path}/backup/tiny`\n"
    assert again.stdout == f"copied nothing new to `{tmp_path}/backup/tiny`\n"
    assert "error[ZT712] foreign-directory" in taken.stderr
    assert "error[ZT702] not-a-run" in unknown.stderr
    assert exported.returncode == 0, exported.stderr
    assert (tmp_path / "model" / "model.safetensors").is_file()
