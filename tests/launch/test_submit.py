"""Jobs that a scheduler takes, and those it does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from zerotrain.errors import LaunchError
from zerotrain.launch.job import Command, Job
from zerotrain.launch.submit import read_submission, submit_job
from zerotrain.runs.layout import RunDirectory


def job(tmp_path: Path, *words: str) -> tuple[RunDirectory, Job]:
    run = RunDirectory(tmp_path / "tiny")
    run.logs.mkdir(parents=True)
    run.record.touch()
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


def test_a_job_whose_run_directory_is_elsewhere_is_noted_nowhere(tmp_path: Path) -> None:
    run, made = job(tmp_path, "echo", "configmap/tiny-1 created\njob.batch/tiny created")
    run.record.unlink()
    submission = submit_job(run, "kubernetes", replace(made, hints=("look",)))

    assert (submission.name, submission.hints) == ("job.batch/tiny", ("look",))
    assert read_submission(run) is None


def test_a_job_that_is_there_already_is_a_finding(tmp_path: Path) -> None:
    run, made = job(tmp_path, "echo", "configmap/tiny-1 unchanged\njob.batch/tiny unchanged")
    with pytest.raises(LaunchError, match="there is a `job") as refused:
        submit_job(run, "kubernetes", made)

    assert "kubectl delete job.batch/tiny" in str(refused.value.findings[0].help)


def test_a_damaged_note_is_none(tmp_path: Path) -> None:
    run, _ = job(tmp_path, "true")
    (run.logs / "submission.json").write_text("{")

    assert read_submission(run) is None
