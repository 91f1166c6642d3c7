"""Handing a job to a scheduler, which starts it when there is room."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import asdict, dataclass

from zerotrain.diagnostic import error
from zerotrain.errors import LaunchError
from zerotrain.launch.job import Job
from zerotrain.launch.watch import write_files
from zerotrain.runs.files import write_json
from zerotrain.runs.layout import RunDirectory


@dataclass(frozen=True)
class Submission:
    """A job that a scheduler has taken."""

    launcher: str
    name: str
    """What the scheduler calls it."""
    time: float
    """Unix seconds."""
    hints: tuple[str, ...] = ()
    """What a user may do next."""


def submit_job(run: RunDirectory, launcher: str, job: Job) -> Submission:
    """Writes the job's files, hands it to its scheduler and notes in the run directory what it is called there.

    Where there is no run directory yet, the job makes it. Raises LaunchError when the scheduler's command is missing,
    or it refuses the job.
    """
    write_files(job)
    (command,) = job.commands
    try:
        done = subprocess.run(
            command.arguments, env={**os.environ, **command.environment}, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        message = f"there is no `{command.arguments[0]}` on this machine"
        help = "start the run on a machine that can submit jobs, or with another launcher: `--on local`"
        raise LaunchError(error("ZT840", "no-scheduler", message, help=help, key="launch.type")) from None
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        message = f"`{command.arguments[0]}` refuses the job: {said}"
        again = f"`zerotrain resume {run.root} launch.…`" if run.record.exists() else "submit it again"
        help = f"change `launch`, then {again}"
        raise LaunchError(error("ZT841", "refused-job", message, help=help, key="launch"))
    submission = Submission(launcher, _name(done.stdout), time.time(), job.hints)
    if run.record.exists():
        write_json(run.logs / "submission.json", asdict(submission))
    return submission


def _name(said: str) -> str:
    """Returns what a job is called: `sbatch` says `12;cluster`, `kubectl` ends with `job.batch/tiny created`."""
    *_, last = said.strip().splitlines() or [""]
    name, _, outcome = last.partition(" ")
    if outcome == "unchanged":
        message = f"there is a `{name}` already, for the same spec"
        help = f"to start it again, `kubectl delete {name}` first; it goes on from its last checkpoint"
        raise LaunchError(error("ZT841", "refused-job", message, help=help, key="name"))
    return name.partition(";")[0]


def read_submission(run: RunDirectory) -> Submission | None:
    """Returns the newest job of a run that was handed to a scheduler, or None."""
    try:
        noted = json.loads((run.logs / "submission.json").read_text(encoding="utf-8"))
        return Submission(noted["launcher"], noted["name"], noted["time"], tuple(noted["hints"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
