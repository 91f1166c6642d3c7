"""A run is asked from outside to save, to stop or to end, while it trains."""

from __future__ import annotations

import json

from zerotrain.runs.attempts import attempts
from zerotrain.runs.catalogue import catalogue
from zerotrain.runs.history import curve, evaluations
from zerotrain.runs.layout import RunDirectory

LONG = {"horizon": "4000 steps", "hardware.gpus_per_node": 1}


def tags(run):
    return [checkpoint.manifest.tag for checkpoint in catalogue(run)[0]]


def test_a_touched_file_saves_at_once_and_another_stops_until_the_run_is_resumed(write, start, wait_for, tmp_path):
    run = RunDirectory(tmp_path / "runs" / "tiny")
    process = start("train", write(LONG))
    wait_for(lambda: len(curve(run)) >= 2)

    run.save_order.touch()
    wait_for(lambda: tags(run))
    assert not run.save_order.exists()
    assert process.poll() is None, "training goes on"
    saved = tags(run)
    run.stop_order.touch()
    output, errors = process.communicate(timeout=120)

    assert process.returncode == 75, output + errors
    assert not run.stop_order.exists()
    assert "the file `STOP` asked for it" in output
    (attempt,) = attempts(run)
    assert attempt.outcome == "stopped"
    assert tags(run) == [f"step-{attempt.last_step}", *saved]
    run.stop_order.touch()  # left behind by whoever meant the attempt that has ended
    process = start("resume", run.root, f"horizon={attempt.last_step + 2} steps", "--accept")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, output + errors


def test_a_run_ends_at_its_limit_with_all_that_belongs_to_an_end_and_goes_on_when_it_is_raised(
    write, zerotrain, tmp_path
):
    validation = [{"type": "python_stdlib", "split": "validation", "max_documents": 1}]
    changes = {**LONG, "data.validation": validation, "evaluation": {"max_samples": 4}, "export": {}}
    run = RunDirectory(tmp_path / "runs" / "tiny")

    done = zerotrain("train", write(changes), "limits.gpu_hours=0.002")  # 7.2 seconds

    assert done.returncode == 0, done.stdout + done.stderr
    (attempt,) = attempts(run)
    assert (attempt.outcome, attempt.is_at_limit) == ("finished", True)
    assert attempt.reason == "`limits.gpu_hours` of 0.002 are used up"
    assert tags(run) == [f"step-{attempt.last_step}"]
    assert list(evaluations(run)) == [attempt.last_step]
    assert json.loads((run.export / "zerotrain.json").read_text())["checkpoint"] == tags(run)[0]
    again = zerotrain("resume", run.root)
    assert again.returncode == 1
    assert "error[ZT709] finished-run" in again.stderr
    assert "limits.hours=" in again.stderr

    raised = zerotrain(
        "resume", run.root, "limits.gpu_hours=1000", f"horizon={attempt.last_step + 2} steps", "--accept"
    )

    assert raised.returncode == 0, raised.stdout + raised.stderr
    assert attempts(run)[-1].last_step == attempt.last_step + 2
