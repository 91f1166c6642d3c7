"""Starting a run again after a fault, from its last good checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable

from zerotrain.errors import LaunchError
from zerotrain.launch.attempt import start_attempt
from zerotrain.launch.revision import lay_out_anew
from zerotrain.launch.submit import Submission
from zerotrain.runs.attempts import Attempt
from zerotrain.runs.catalogue import catalogue
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import read_record
from zerotrain.runs.revise import smaller_micro_batch
from zerotrain.spec.launch import DeepSpeedLaunch, LaunchSpec, LocalLaunch
from zerotrain.spec.run import RunSpec

_OUT_OF_MEMORY = "ZT816"

_TRANSIENT = {"ZT711", "ZT766", "ZT817", "ZT818", "ZT805", "ZT806", _OUT_OF_MEMORY}
"""Findings after which the same run may well succeed: a fault of a machine, or one that nobody knows. ZT711: a
checkpoint that turned out damaged is passed over the next time."""

_ROLLED_BACK = "ZT767"

_LONGEST_DELAY = 600.0


def start_with_restarts(
    run: RunDirectory, launch: LaunchSpec | None, say: Callable[[str], None]
) -> Attempt | Submission:
    """Starts the workers of a run and stays until they end well, or have failed once too often.

    What is done about a fault is told to `say`. Returns and raises what `start_attempt` does; the LaunchError is that
    of the last attempt.
    """
    restarts = in_a_row = 0
    while True:
        before = _newest(run)
        try:
            return start_attempt(run, launch)
        except LaunchError as failure:
            how = launch or RunSpec.model_validate(read_record(run).resolved).launch
            if not isinstance(how, LocalLaunch | DeepSpeedLaunch):
                raise
            if _is(failure, _ROLLED_BACK):
                say(f"{failure.findings[0].message}; starting again from the last checkpoint, without it")
                continue
            if how.on_oom == "adapt" and _adapt(run, failure, say):
                continue
            if restarts == how.max_restarts or not _is_transient(failure):
                raise
            restarts, in_a_row = restarts + 1, 1 if _newest(run) > before else in_a_row + 1
            delay = min(how.restart_delay.seconds * 2 ** min(in_a_row - 1, 10), _LONGEST_DELAY)
            reason = failure.findings[0].message
            say(f"{reason}\nstarting again in {delay:.0f} s, restart {restarts} of {how.max_restarts}")
            time.sleep(delay)


def _newest(run: RunDirectory) -> int:
    """Returns the step of the newest checkpoint, 0 when there is none."""
    complete, _ = catalogue(run)
    return complete[0].manifest.step if complete else 0


def _is_transient(failure: LaunchError) -> bool:
    return all(finding.code in _TRANSIENT for finding in failure.findings)


def _adapt(run: RunDirectory, failure: LaunchError, say: Callable[[str], None]) -> bool:
    """Lays the run out with a smaller micro-batch when memory ran out; tells whether there was one."""
    size = smaller_micro_batch(read_record(run)) if _is(failure, _OUT_OF_MEMORY) else None
    if size is None:
        return False
    changed = lay_out_anew(run, [f"batch.micro_batch_size={size}"], accept=True)
    say("\n  ".join([f"{failure.findings[0].message}; starting again with", *map(str, changed)]))
    return True


def _is(failure: LaunchError, code: str) -> bool:
    return any(finding.code == code for finding in failure.findings)
