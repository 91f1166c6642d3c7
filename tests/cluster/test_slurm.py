"""Runs that a real Slurm starts, drives away and starts again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from zerotrain.runs.attempts import attempts
from zerotrain.runs.history import curve

pytestmark = pytest.mark.cluster

CHANGES: dict[str, Any] = {
    "horizon": "1000 steps",
    "hardware": {"gpus_per_node": 2},
    "launch": {"type": "slurm", "partition": "low"},
}


class Login:
    """A login node: a directory to work in, and the commands."""

    def __init__(self, slurm: Any, directory: Path, spec: dict[str, Any], watched: Any) -> None:
        self.slurm, self.directory = slurm, directory
        self.run, self.whole = (watched(directory / "runs" / name) for name in ("tiny", "whole"))
        (directory / "spec.yaml").write_text(yaml.safe_dump({**spec, **CHANGES}))

    def zerotrain(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "zerotrain", *words],
            cwd=self.directory,
            env=self.slurm.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


@pytest.fixture
def login(slurm: Any, tmp_path: Path, tiny: dict[str, Any], watched: Any) -> Login:
    directory = tmp_path / "it's $(touch hacked) 50%"
    directory.mkdir()
    return Login(slurm, directory, tiny, watched)


def test_a_job_that_is_told_to_save_and_one_that_is_driven_away_go_on_as_if_nothing_had_been(login: Login) -> None:
    """Slurm signals the ranks, as before the end of a job's time; then a job of more importance needs the node."""
    whole = login.zerotrain("train", "spec.yaml", "--on", "local", "name=whole")
    submitted = login.zerotrain("train", "spec.yaml")
    run, (word,) = login.run, submitted.stdout.split("as job ")[1:]
    job = word.split()[0]

    run.wait_for(lambda: len(curve(run)) > 5)
    login.slurm.call("scancel", "--signal=USR1", job)
    run.wait_for(lambda: run.outcomes()[-1:] == ["stopped"])
    saved = attempts(run)[-1].last_step or 0
    run.wait_for(lambda: len(curve(run)) > saved + 5)
    login.slurm.call("sbatch", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    run.wait_for(lambda: run.outcomes() == ["stopped", "stopped"])
    run.wait_for(lambda: run.outcomes()[-1:] == ["finished"])
    status = login.zerotrain("status", "runs/tiny").stdout

    assert whole.returncode == 0, whole.stderr
    assert submitted.returncode == 0, submitted.stderr
    assert run.outcomes() == ["stopped", "stopped", "finished"]
    assert [attempt.reason for attempt in attempts(run)][:2] == ["received SIGUSR1", "received SIGTERM"]
    assert run.losses() == login.whole.losses()
    assert not list(login.directory.parent.rglob("hacked")), "nothing in the name of the directory is run"
    assert status.startswith("tiny: finished, 1000/1000 steps")
    assert f"slurm job {job}, submitted" in status


def test_inside_an_allocation_the_ranks_start_at_once(login: Login) -> None:
    command = [sys.executable, "-m", "zerotrain", "train", "spec.yaml", "horizon=3 steps"]
    done = subprocess.run(
        ["salloc", "--ntasks=2", *command],
        cwd=login.directory,
        env=login.slurm.environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr + login.run.said()
    assert "step 3/3" in done.stdout
    assert login.run.outcomes() == ["finished"]


def test_what_slurm_refuses_is_said_in_its_words(login: Login) -> None:
    done = login.zerotrain("train", "spec.yaml", "launch.partition=no_such")

    assert done.returncode == 1
    assert "error[ZT841] refused-job" in done.stderr
    assert "invalid partition" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "jobs",
    [
        pytest.param(("launch.requeue=true",), id="the same job again"),
        pytest.param(("launch.requeue=false", "launch.array=3"), id="the next of three"),
    ],
)
def test_a_run_that_is_longer_than_its_time_goes_on_in_another_job(login: Login, jobs: tuple[str, ...]) -> None:
    """Slurm counts time limits in minutes, and signals up to a minute before it is told to."""
    limit = ("launch.time=3 minutes", "launch.save_before=30 seconds", "horizon=200000 steps")
    submitted = login.zerotrain("train", "spec.yaml", *limit, *jobs)
    assert submitted.returncode == 0, submitted.stderr
    job = submitted.stdout.split("as job ")[1].split()[0]
    run = login.run

    run.wait_for(lambda: run.outcomes()[:1] == ["stopped"])
    saved = attempts(run)[0].last_step or 0
    run.wait_for(lambda: len(curve(run)) > saved + 5)
    login.slurm.call("scancel", job)

    assert attempts(run)[0].reason == "received SIGUSR1"
    steps = sorted(curve(run))
    assert steps == list(range(1, len(steps) + 1)), "no step is lost"
