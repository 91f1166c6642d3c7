"""One attempt: prepare the job, run it, and find out how it really ended."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence

from zerotrain.compile.resolve import ranks_of
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import LaunchError
from zerotrain.hardware.probe import free_port
from zerotrain.launch.job import Job, Order
from zerotrain.launch.packages import refuse_missing_packages
from zerotrain.launch.submit import Submission, submit_job
from zerotrain.launch.table import LAUNCHERS, is_numbered_here, is_submitted
from zerotrain.launch.watch import Interrupted, remove_shared_memory, run_job
from zerotrain.runs.attempts import (
    Attempt,
    Failure,
    end_attempt,
    failures,
    hold,
    last_attempt,
    next_attempt,
    read_attempt,
)
from zerotrain.runs.ending import refuse_finished
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import read_record
from zerotrain.spec.launch import LaunchSpec
from zerotrain.spec.run import RunSpec

_SECONDS_BETWEEN_LOOKS = 0.2

_ADDRESS = "127.0.0.1"

_SIGNS_OF_A_LOST_PEER = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process")
"""What gloo and NCCL say when another rank is gone."""


def prepare_job(run: RunDirectory, spec: RunSpec, attempt: int | None, port: int, source: Sequence[str] = ()) -> Job:
    """Returns what would be started for an attempt; has no effect.

    With a spec and its overrides as `source` the ranks make the run directory.
    """
    order = Order(run, spec, ranks_of(spec), attempt, port, tuple(source))
    return LAUNCHERS[spec.launch.type](order)


def start_attempt(run: RunDirectory, launch: LaunchSpec | None = None) -> Attempt | Submission:
    """Starts the workers of a run and stays until they end; `launch` replaces what the run was made with.

    Returns the attempt, which is finished or stopped; or what a scheduler has taken, to start it later. Raises RunError
    when another process trains the run or it is finished, and LaunchError when the workers fail; the findings are those
    of the rank that failed first. How they ended is read from the run directory, because launchers lose exit codes:
    `deepspeed` exits with 0 when the process below it is killed by a signal (launcher/runner.py).
    """
    refuse_missing_packages()
    spec = RunSpec.model_validate(read_record(run).resolved)
    spec = spec if launch is None else spec.model_copy(update={"launch": launch})
    if is_numbered_here(spec.launch):
        return _start_alone(run, spec)
    refuse_finished(run)
    return submit(run, spec) if is_submitted(spec.launch) else start_together(run, spec)


def submit(run: RunDirectory, spec: RunSpec) -> Submission:
    """Hands a run to a scheduler; raises LaunchError when that does not take it."""
    return submit_job(run, spec.launch.type, prepare_job(run, spec, None, free_port()))


def _start_alone(run: RunDirectory, spec: RunSpec) -> Attempt:
    with hold(run):
        refuse_finished(run)
        attempt, port = next_attempt(run), free_port()
        job = prepare_job(run, spec, attempt, port)
        try:
            code = _run(job, port)
        except Interrupted as interrupted:
            _wait_for_other_machines(run, spec, attempt)
            _note_interruption(run, attempt, interrupted)
            raise
        return _refuse_failed(run, attempt, code, job)


def start_together(run: RunDirectory, spec: RunSpec, source: Sequence[str] = ()) -> Attempt:
    """Starts this machine's workers of a run whose ranks number their attempts, and stays until they end.

    With a spec and its overrides as `source` the ranks make the run directory. Returns and raises what `start_attempt`
    does.
    """
    before, port = last_attempt(run), free_port()
    job = prepare_job(run, spec, None, port, source)
    code = _run(job, port)
    attempt = last_attempt(run)
    if attempt == before:
        raise LaunchError(_killed(run, f"torchrun ended with exit code {code} before the ranks had met", job))
    return _refuse_failed(run, attempt, code, job)


def _run(job: Job, port: int) -> int:
    try:
        return run_job(job)
    finally:
        sys.stdout.flush()
        remove_shared_memory(_ADDRESS, port)


def _wait_for_other_machines(run: RunDirectory, spec: RunSpec, attempt: int) -> None:
    """Returns when ranks on other machines have said how they ended, or have had their time.

    Their launcher here ends as soon as it has told them to.
    """
    deadline = time.monotonic() + spec.launch.grace.seconds
    while spec.hardware.num_nodes > 1 and time.monotonic() < deadline:
        record = read_attempt(run, attempt)
        if record is None or record.outcome != "running":
            return
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _note_interruption(run: RunDirectory, attempt: int, interrupted: Interrupted) -> None:
    record = read_attempt(run, attempt)
    if record is not None and record.outcome in ("running", "stopped"):
        end_attempt(run, attempt, "stopped", reason=f"received {interrupted}")


def _refuse_failed(run: RunDirectory, attempt: int, code: int, job: Job) -> Attempt:
    record = read_attempt(run, attempt)
    if record is not None and (record.outcome == "stopped" or (record.outcome == "finished" and code == 0)):
        return record
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
