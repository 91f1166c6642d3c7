"""Runs that a real Slurm starts, drives away and starts again."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from zerotrain.runs.attempts import attempts
from zerotrain.runs.history import curve
from zerotrain.runs.layout import RunDirectory

pytestmark = pytest.mark.cluster

SPEC: dict[str, Any] = {
    "name": "tiny",
    "model": {
        "architecture": "llama",
        "config": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    },
    "data": {
        "train": [{"type": "python_stdlib", "max_documents": 12}],
        "tokenizer": {"type": "bytes"},
        "seq_len": 64,
        "cache": "cache",
    },
    "batch": {"global_batch_size": 4, "micro_batch_size": 2},
    "horizon": "1000 steps",
    "optimizer": {"type": "adamw", "lr": 1.0e-2},
    "schedule": {"type": "constant"},
    "hardware": {"gpus_per_node": 2},
    "launch": {"type": "slurm", "partition": "low"},
}


class Login:
    """A login node: a directory to work in, and the commands."""

    def __init__(self, slurm: Any, directory: Path) -> None:
        self.slurm, self.directory = slurm, directory
        (directory / "spec.yaml").write_text(yaml.safe_dump(SPEC))

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

    def run(self, name: str = "tiny") -> RunDirectory:
        return RunDirectory(self.directory / "runs" / name)

    def said(self) -> str:
        return "\n".join(path.read_text() for path in self.run().logs.rglob("*.log"))


@pytest.fixture
def login(slurm: Any, tmp_path: Path) -> Login:
    return Login(slurm, tmp_path)


def wait_for(login: Login, condition: Callable[[], Any], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, login.said()
        time.sleep(0.2)


def outcomes(run: RunDirectory) -> list[str]:
    return [attempt.outcome for attempt in attempts(run)]


def losses(run: RunDirectory) -> list[float]:
    return [row["loss"] for _, row in sorted(curve(run).items())]


def test_a_job_that_is_told_to_save_and_one_that_is_driven_away_go_on_as_if_nothing_had_been(login: Login) -> None:
    """Slurm signals the ranks, as before the end of a job's time; then a job of more importance needs the node."""
    whole = login.zerotrain("train", "spec.yaml", "--on", "local", "name=whole")
    submitted = login.zerotrain("train", "spec.yaml")
    run, (word,) = login.run(), submitted.stdout.split("as job ")[1:]
    job = word.split()[0]

    wait_for(login, lambda: len(curve(run)) > 5)
    login.slurm.call("scancel", "--signal=USR1", job)
    wait_for(login, lambda: outcomes(run)[-1:] == ["stopped"])
    saved = attempts(run)[-1].last_step or 0
    wait_for(login, lambda: len(curve(run)) > saved + 5)
    login.slurm.call("sbatch", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    wait_for(login, lambda: outcomes(run) == ["stopped", "stopped"])
    wait_for(login, lambda: outcomes(run)[-1:] == ["finished"])
    status = login.zerotrain("status", "runs/tiny").stdout

    assert whole.returncode == 0, whole.stderr
    assert submitted.returncode == 0, submitted.stderr
    assert outcomes(run) == ["stopped", "stopped", "finished"]
    assert [attempt.reason for attempt in attempts(run)][:2] == ["received SIGUSR1", "received SIGTERM"]
    assert losses(run) == losses(login.run("whole"))
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

    assert done.returncode == 0, done.stdout + done.stderr + login.said()
    assert "step 3/3" in done.stdout
    assert outcomes(login.run()) == ["finished"]


def test_what_slurm_refuses_is_said_in_its_words(login: Login) -> None:
    done = login.zerotrain("train", "spec.yaml", "launch.partition=no_such")

    assert done.returncode == 1
    assert "error[ZT841] refused-job" in done.stderr
    assert "invalid partition" in done.stderr
