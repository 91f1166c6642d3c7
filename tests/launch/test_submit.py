"""Jobs that a scheduler takes, and those it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from zerotrain.errors import LaunchError
from zerotrain.launch.job import Command, Job
from zerotrain.launch.submit import read_submission, submit_job
from zerotrain.runs.layout import RunDirectory


def job(tmp_path: Path, *words: str) -> tuple[RunDirectory, Job]:
    run = RunDirectory(tmp_path / "tiny")
    run.logs.mkdir(parents=True)
    file = run.logs / "job.sbatch"
    command = Command(words, {"NAME": "12;cluster"})
    return run, Job((command,), run.logs / "log", files={file: "text\n"}, is_submitted=True)


def test_a_job_that_is_taken_is_noted_by_its_name(tmp_path: Path) -> None:
    run, made = job(tmp_path, "sh", "-c", f"cat {tmp_path}/tiny/logs/job.sbatch > /dev/null && echo $NAME")
    submission = submit_job(run, "slurm", made)

    assert (submission.launcher, submission.name) == ("slurm", "12")
    assert read_submission(run) == submission
    assert (run.logs / "job.sbatch").read_text() == "text\n"


def test_a_job_that_is_refused_is_a_finding_with_the_scheduler_s_words(tmp_path: Path) -> None:
    run, made = job(tmp_path, "sh", "-c", "echo 'sbatch: error: invalid partition' >&2; exit 1")
    with pytest.raises(LaunchError, match="ZT841 refused-job: `sh` refuses the job: sbatch: error: invalid partition"):
        submit_job(run, "slurm", made)

    assert read_submission(run) is None


def test_a_machine_without_the_scheduler_s_command_is_a_finding(tmp_path: Path) -> None:
    run, made = job(tmp_path, "no-such-sbatch", "x")
    with pytest.raises(LaunchError, match="ZT840 no-scheduler"):
        submit_job(run, "slurm", made)


def test_a_damaged_note_is_none(tmp_path: Path) -> None:
    run, _ = job(tmp_path, "true")
    (run.logs / "submission.json").write_text("{")

    assert read_submission(run) is None
