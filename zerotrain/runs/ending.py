"""Whether a run has come to its end."""

from __future__ import annotations

import time

from zerotrain.diagnostic import error
from zerotrain.errors import RunError
from zerotrain.runs.attempts import Attempt, attempts
from zerotrain.runs.catalogue import catalogue
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.limits import hours_of, reason_to_end
from zerotrain.runs.record import read_record
from zerotrain.spec.run import LimitsSpec


def is_finished(run: RunDirectory) -> bool:
    """Tells whether an attempt has brought the run to its end, and its last checkpoint is still there.

    One that ended at a limit of time is not finished once the limit is raised.
    """
    return _last_of_all(run) is not None


def refuse_finished(run: RunDirectory) -> None:
    """Raises RunError when the run is finished."""
    last = _last_of_all(run)
    if last is None:
        return
    steps = read_record(run).steps
    message, help = f"the run has made all its {steps} steps", "start a new run from its export"
    if last.reason is not None:
        message = f"the run stopped early, after {last.last_step} of {steps} steps: {last.reason}"
    if last.is_at_limit:
        help = f"raise the limit to go on: `zerotrain resume {run.root} limits.hours=…`"
    raise RunError(error("ZT709", "finished-run", message, help=help))


def _last_of_all(run: RunDirectory) -> Attempt | None:
    """Returns the attempt that ended the run: by its last step, which may have been moved since, or before it."""
    steps = [checkpoint.manifest.step for checkpoint in catalogue(run)[0]]
    tried = attempts(run)
    ended = [attempt for attempt in tried if attempt.outcome == "finished" and attempt.last_step in steps]
    if not ended:
        return None
    last, record = ended[-1], read_record(run)
    has_more = (last.last_step or 0) < record.steps
    if last.is_at_limit:
        limits = LimitsSpec.model_validate(record.resolved.get("limits", {}))
        is_open = reason_to_end(limits, *hours_of(run, tried, time.time())) is None
        return None if is_open and has_more else last
    return None if last.reason is None and has_more else last
