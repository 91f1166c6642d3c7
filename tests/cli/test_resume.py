"""`zerotrain resume`; that it continues exactly is shown in tests/ranks/test_resume.py and test_train.py."""

from __future__ import annotations

import json

import pytest

from zerotrain.cli.main import main
from zerotrain.runs.attempts import attempts, hold
from zerotrain.runs.history import curve, rows
from zerotrain.runs.layout import RunDirectory

ONE_STEP = {"horizon": "1 steps", "launch": {"type": "local"}, "hardware.gpus_per_node": 1}


@pytest.mark.parametrize("make", ["nothing", "an empty directory", "a file"])
def test_what_is_no_run_is_a_finding(tmp_path, capsys, make):
    path = tmp_path / "x"
    if make != "nothing":
        path.mkdir() if "directory" in make else path.touch()

    assert main(["resume", str(path)]) == 1
    assert "error[ZT702] not-a-run" in capsys.readouterr().err


def test_a_finished_run_a_busy_one_and_one_that_cannot_be_written(write, zerotrain, tmp_path):
    zerotrain("train", write(ONE_STEP))
    run = RunDirectory(tmp_path / "runs" / "tiny")

    finished = zerotrain("resume", run.root)
    with hold(run):
        busy = zerotrain("resume", run.root)
    run.logs.rename(tmp_path / "moved")
    run.logs.touch()
    unwritable = zerotrain("resume", run.root)

    assert (finished.returncode, busy.returncode, unwritable.returncode) == (1, 1, 2)
    assert "error[ZT709] finished-run" in finished.stderr
    assert "error[ZT713] busy-run" in busy.stderr
    assert f"zerotrain status {run.root}" in busy.stderr
    assert "logs`: " in unwritable.stderr
    assert "Traceback" not in finished.stderr + busy.stderr + unwritable.stderr


def test_a_run_goes_on_with_its_own_spec_whatever_became_of_the_file(write, zerotrain, tmp_path):
    zerotrain("train", write({**ONE_STEP, "horizon": "3 steps", "checkpoint.save_every": "1 steps"}))
    run = tmp_path / "runs" / "tiny"
    (run / "checkpoints" / "step-3" / "manifest.json").unlink()
    [*_, whole] = rows(RunDirectory(run), "train")
    (tmp_path / "spec.yaml").unlink()

    resumed = zerotrain("resume", run)

    [*_, again] = rows(RunDirectory(run), "train")
    assert resumed.returncode == 0, resumed.stderr
    assert "passed over `step-3`: it has no manifest" in resumed.stdout
    assert "continuing from `step-2`" in resumed.stdout
    assert (again["attempt"], again["loss"]) == (2, whole["loss"])


def test_only_how_a_run_is_started_may_differ(write, zerotrain, tmp_path):
    zerotrain("train", write({**ONE_STEP, "horizon": "2 steps", "checkpoint.save_every": "1 steps"}))
    run = tmp_path / "runs" / "tiny"
    (run / "checkpoints" / "step-2" / "manifest.json").unlink()

    other = zerotrain("resume", run, "seed=2")
    wrong = zerotrain("resume", run, "launch.no_such=2")
    secret = zerotrain("resume", run, "launch.environment.HF_TOKEN=hunter2")
    started = zerotrain("resume", run, "--on", "torchrun", "launch.max_restarts=1")
    finished = zerotrain("resume", run, "--unless-finished")

    assert (other.returncode, wrong.returncode, started.returncode, finished.returncode) == (1, 1, 0, 0)
    assert "error[ZT715] changed-run" in other.stderr
    assert "seed: `1234` -> `2`" in other.stderr
    assert "`no_such`" in wrong.stderr
    assert (secret.returncode, "error[ZT815] written-secret" in secret.stderr) == (1, True)
    assert not [path for path in run.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]
    assert "is finished" in finished.stdout


def test_a_run_goes_on_with_more_ranks_and_a_longer_horizon(write, zerotrain, tmp_path):
    zerotrain("train", write({**ONE_STEP, "horizon": "2 steps", "checkpoint.save_every": "1 steps"}))
    run = RunDirectory(tmp_path / "runs" / "tiny")
    longer = ["horizon=3 steps", "zero.stage=3"]

    alone = zerotrain("resume", run.root, "--world-size", "3")
    silent = zerotrain("resume", run.root, "--world-size", "2", *longer)
    resumed = zerotrain("resume", run.root, "--world-size", "2", *longer, "--accept")

    assert (alone.returncode, silent.returncode, resumed.returncode) == (1, 1, 0), resumed.stderr
    assert "error[ZT718] unshared-batch" in alone.stderr
    assert "error[ZT717] unaccepted-change" in silent.stderr
    assert "horizon: `2 steps` -> `3 steps`" in resumed.stdout
    assert "zero.stage: `0` -> `3`" in resumed.stdout
    assert sorted(curve(run)) == [1, 2, 3]
    assert [attempt.world_size for attempt in attempts(run)] == [1, 2]
    assert json.loads((run.logs / "run-until-attempt-1.json").read_text())["steps"] == 2


def test_a_run_whose_end_was_lost_is_brought_to_it(write, zerotrain, tmp_path):
    """Its last checkpoint is there; the process was killed before it had exported."""
    zerotrain("train", write({**ONE_STEP, "export": {}}))
    run = tmp_path / "runs" / "tiny"
    record = run / "logs" / "attempt-1" / "attempt.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "outcome": "running"}))
    (run / "export" / "model.safetensors").unlink()

    resumed = zerotrain("resume", run)

    assert resumed.returncode == 0, resumed.stderr
    assert (run / "export" / "model.safetensors").exists()
    assert "finished" in zerotrain("status", run).stdout.splitlines()[0]
