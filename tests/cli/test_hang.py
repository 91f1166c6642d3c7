"""A rank that no longer answers is named, and the run goes on without a hand."""

from __future__ import annotations

import os
import signal

from zerotrain.runs.attempts import attempts
from zerotrain.runs.history import curve
from zerotrain.runs.layout import RunDirectory


def test_a_stopped_rank_is_named_with_the_stacks_of_those_that_wait_and_the_run_starts_again(
    write, zerotrain, start, wait_for, worker_pids, tmp_path
):
    launch = {"type": "local", "max_restarts": 1, "restart_delay": "1 seconds"}
    changes = {"horizon": "60 steps", "checkpoint.save_every": "5 steps", "health.hang": "4 seconds", "launch": launch}
    run = RunDirectory(tmp_path / "runs" / "tiny")
    spec = write(changes)
    whole = zerotrain("train", spec, "name=whole")
    process = start("train", spec)
    wait_for((run.checkpoints / "step-10").exists)

    os.kill(worker_pids(run.root)[-1], signal.SIGSTOP)
    output, errors = process.communicate(timeout=180)

    assert process.returncode == 0, output + errors
    assert whole.returncode == 0
    first, second = attempts(run)
    assert (first.outcome, second.outcome) == ("failed", "finished")
    assert first.reason is not None
    assert "ZT766 hung-rank: rank " in first.reason
    assert "has not answered for 4 seconds in step" in first.reason
    assert "; 1 other waits" in first.reason
    waiting = 1 - int(first.reason.split("ZT766 hung-rank: rank ")[1][0])
    assert "all_reduce" in run.rank_log(1, waiting).read_text(), "its stack"
    losses = [
        {step: row["loss"] for step, row in curve(one).items()} for one in (run, RunDirectory(tmp_path / "runs/whole"))
    ]
    assert losses[0] == losses[1]
