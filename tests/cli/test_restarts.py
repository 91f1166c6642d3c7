"""A run that fails goes on by itself, from its last good checkpoint."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys

import pytest

from zerotrain.runs.attempts import attempts
from zerotrain.runs.events import events
from zerotrain.runs.history import curve
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import read_record

LOCAL = {"horizon": "30 steps", "checkpoint.save_every": "5 steps"}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("launcher", ["local", "deepspeed"])
def test_killed_ranks_are_started_again_and_the_curve_is_that_of_an_uninterrupted_run(
    write, zerotrain, start, wait_for, worker_pids, tmp_path, launcher
):
    restarting = {"launch": {"type": launcher, "max_restarts": 2, "restart_delay": "1 seconds"}}
    spec, run = write({**LOCAL, **restarting}), RunDirectory(tmp_path / "runs" / "tiny")
    whole = zerotrain("train", spec, "name=whole")
    process = start("train", spec)
    for number, step in ((1, 10), (2, 20)):
        wait_for((run.checkpoints / f"step-{step}").exists)
        wait_for(lambda number=number: len(attempts(run)) == number)
        os.kill(worker_pids(run.root)[-1], signal.SIGKILL)
    output, errors = process.communicate(timeout=120)

    assert process.returncode == 0, output + errors
    assert whole.returncode == 0
    assert "starting again in 1 s, restart 1 of 2" in output
    assert "starting again in 1 s, restart 2 of 2" in output, "a checkpoint was saved since the first"
    assert [attempt.outcome for attempt in attempts(run)] == ["failed", "failed", "finished"]
    assert losses(run) == losses(RunDirectory(tmp_path / "runs" / "whole"))


def losses(run):
    return [(step, row["loss"]) for step, row in sorted(curve(run).items())]


def test_what_fails_every_time_ends_the_run_after_the_last_restart(write, zerotrain, tmp_path):
    """The package of a monitor is missing, which only the ranks can find out."""
    launch = {"type": "local", "max_restarts": 1, "restart_delay": "1 seconds"}
    spec = write({"horizon": "2 steps", "launch": launch, "deepspeed": {"comet": {"enabled": True}}})

    done = zerotrain("train", spec, "hardware.gpus_per_node=1")

    assert done.returncode == 1
    assert "restart 1 of 1" in done.stdout
    assert done.stderr.count("error[ZT805]") == 1, done.stderr
    assert len(attempts(RunDirectory(tmp_path / "runs" / "tiny"))) == 2


@pytest.mark.parametrize("reaction", ["stop", "adapt"])
def test_a_rank_that_runs_out_of_memory_says_where_and_goes_on_with_a_smaller_micro_batch(write, tmp_path, reaction):
    changes = {
        "model.config.vocab_size": 65536,
        "batch": {"global_batch_size": 64, "micro_batch_size": 64},
        "horizon": "1 steps",
        "hardware.gpus_per_node": 1,
        "launch": {"type": "local", "on_oom": reaction},
    }
    spec, run = write(changes), RunDirectory(tmp_path / "runs" / "tiny")

    limit = f"--as={3 << 30}"  # bytes of address space: torch's libraries take about half of it
    command = ["prlimit", limit, sys.executable, "-m", "zerotrain", "train", str(spec)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)

    told = done.stderr if reaction == "stop" else done.stdout
    assert "rank 0 ran out of memory in the " in told, done.stdout + done.stderr
    if reaction == "stop":
        assert done.returncode == 1
        assert "error[ZT816] out-of-memory" in done.stderr
        assert "launch.on_oom: adapt" in done.stderr
        return
    assert done.returncode == 0, done.stdout + done.stderr
    assert "batch.micro_batch_size: `64` -> `32`" in done.stdout
    batch = read_record(run).resolved["batch"]
    assert batch["micro_batch_size"] < 64
    assert batch["micro_batch_size"] * batch["gradient_accumulation_steps"] == 64
    assert curve(run)[1]["samples"] == 64


def test_a_batch_at_which_the_loss_leaps_is_left_out_by_a_restart_of_its_own(write, zerotrain, tmp_path):
    """The data is one line over and over, and somewhere a page of noise: it is a leap of the loss without any help."""
    draw = random.Random(3)
    noise = "".join(draw.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=14 * 64))
    documents = ["the same again and again " * 12] * 120 + [noise] + ["the same again and again " * 12] * 120
    (tmp_path / "data.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    changes = {
        **{"data.train": [{"type": "jsonl", "path": "data.jsonl"}], "data.validation": []},
        **{"horizon": "40 steps", "checkpoint.save_every": "5 steps", "hardware.gpus_per_node": 1},
        "health": {"loss_spike": {"action": "rollback", "window": 10, "deviations": 20.0, "budget": 20}},
    }

    done = zerotrain("train", write(changes))

    assert done.returncode == 0, done.stdout + done.stderr
    run = RunDirectory(tmp_path / "runs" / "tiny")
    left_out = [event.step for event in events(run)]
    assert left_out
    assert {event.action for event in events(run)} == {"rollback"}
    assert [attempt.outcome for attempt in attempts(run)] == ["failed"] * len(left_out) + ["finished"]
    assert done.stdout.count("starting again from the last checkpoint, without it") == len(left_out)
    assert all(row["skipped"] for step, row in curve(run).items() if step in left_out)
