"""One attempt: prepare the job, run it, and find out how it really ended."""

from __future__ import annotations

import signal
import sys

from zerotrain.compile.resolve import ranks_of
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import LaunchError
from zerotrain.hardware.probe import free_port
from zerotrain.hardware.software import installed_version, missing_packages
from zerotrain.launch.job import Job, Order
from zerotrain.launch.table import LAUNCHERS
from zerotrain.launch.watch import Interrupted, remove_shared_memory, run_job
from zerotrain.runs.attempts import Failure, end_attempt, failures, hold, next_attempt, read_attempt
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import read_record
from zerotrain.spec.run import RunSpec

_ADDRESS = "127.0.0.1"

_SIGNS_OF_A_LOST_PEER = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process")
"""What gloo and NCCL say when another rank is gone."""


def prepare_job(run: RunDirectory, spec: RunSpec, attempt: int, port: int) -> Job:
    """Returns what would be started for an attempt; has no effect."""
    order = Order(run, spec, ranks_of(spec), attempt, port)
    return LAUNCHERS[spec.launch.type](order)


def start_attempt(run: RunDirectory) -> None:
    """Starts the workers of a run and stays until they end.

    Raises RunError when another process trains the run, and LaunchError when the workers do not finish; the findings
    are those of the rank that failed first. Whether they finished is read from the run directory, because launchers
    lose exit codes: `deepspeed` exits with 0 when the process below it is killed by a signal (launcher/runner.py).
    """
    refuse_missing_packages()
    with hold(run):
        spec = RunSpec.model_validate(read_record(run).resolved)
        attempt, port = next_attempt(run), free_port()
        job = prepare_job(run, spec, attempt, port)
        try:
            code = run_job(job)
        except Interrupted as interrupted:
            end_attempt(run, attempt, "stopped", reason=f"received {interrupted}")
            raise
        finally:
            sys.stdout.flush()
            remove_shared_memory(_ADDRESS, port)
        _refuse_unfinished(run, attempt, code, job)


def refuse_missing_packages() -> None:
    """Raises LaunchError when packages that training needs are not installed."""
    missing = missing_packages()
    if missing:
        named = ", ".join(f"`{package}`" for package in missing)
        message = f"training needs {named}, not installed beside {sys.executable}"
        raise LaunchError(error("ZT802", "missing-packages", message, help="pip install 'zerotrain[train]'"))


def refuse_other_deepspeed(spec: RunSpec) -> None:
    """Raises LaunchError when the DeepSpeed that is installed is not the one the spec is meant for."""
    wanted, installed = spec.software.deepspeed, installed_version("deepspeed")
    if wanted is not None and wanted != installed:
        message = f"the spec is meant for DeepSpeed {wanted}, and {installed} is installed"
        help = f"`pip install deepspeed=={wanted}`, or change `software.deepspeed`"
        raise LaunchError(error("ZT809", "other-deepspeed", message, help=help, key="software.deepspeed"))


def _refuse_unfinished(run: RunDirectory, attempt: int, code: int, job: Job) -> None:
    record = read_attempt(run, attempt)
    if record is not None and record.outcome == "finished" and code == 0:
        return
    failed = failures(run, attempt)
    vanished = sorted(set(range(record.world_size if record else 0)) - {failure.rank for failure in failed})
    if failed and not (vanished and _lost_a_peer(failed[0])):
        raise LaunchError(*(failed[0].findings or [_failed(run, attempt, failed[0])]))
    reason = _how_it_ended(code, vanished if failed else [])
    end_attempt(run, attempt, "failed", reason=reason)
    raise LaunchError(_killed(run, reason, job))


def _lost_a_peer(failure: Failure) -> bool:
    """Tells whether a rank failed only because another one was gone."""
    return any(sign in failure.traceback for sign in _SIGNS_OF_A_LOST_PEER)


def _failed(run: RunDirectory, attempt: int, failure: Failure) -> Diagnostic:
    log = run.rank_log(attempt, failure.rank)
    help = f"the whole traceback is in `{log}`; continue with `zerotrain resume {run.root}`"
    return error("ZT805", "failed-worker", f"rank {failure.rank} failed: {failure.reason}", help=help)


def _how_it_ended(code: int, vanished: list[int]) -> str:
    who = f"rank {vanished[0]}" if vanished else "a worker"
    killer = _signal_behind(code)
    if killer is not None:
        return f"{who} was killed by {killer.name}"
    return f"{who} vanished without a word, as when it is killed" if vanished else f"{who} ended with exit code {code}"


def _signal_behind(code: int) -> signal.Signals | None:
    """Returns the signal an exit code stands for: -n from subprocess, 128 + n from a shell, 256 - n from sys.exit(-n).

    255 is what a program says that ends with -1; nothing here is ever killed by SIGHUP alone.
    """
    number = -code if code < 0 else 256 - code if code > 192 else code - 128
    is_signal = code != 255 and number in {int(known) for known in signal.Signals}
    return signal.Signals(number) if is_signal else None


def _killed(run: RunDirectory, reason: str, job: Job) -> Diagnostic:
    hint = "; the kernel does that when memory runs out" if "SIGKILL" in reason or "vanished" in reason else ""
    help = f"see `{job.log.parent}`; continue with `zerotrain resume {run.root}`"
    return error("ZT806", "killed-worker", f"{reason}{hint}", help=help)
