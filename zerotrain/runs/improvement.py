"""Which evaluation was the best, and whether it still gets better: pure functions of the evaluations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from zerotrain.diagnostic import error
from zerotrain.errors import SpecError
from zerotrain.runs.catalogue import Checkpoint
from zerotrain.spec.run import EarlyStoppingSpec, KeepBestSpec
from zerotrain.spec.suggest import listed, nearest

Evaluations = Mapping[int, Mapping[str, float | None]]
"""Step to metrics, in the order of the steps."""


def improves(aim: EarlyStoppingSpec | KeepBestSpec, value: float | None, best: float | None, by: float = 0.0) -> bool:
    """Tells whether a value is better than the best so far by more than `by`; one that is not finite never is."""
    if value is None or not math.isfinite(value):
        return False
    if best is None:
        return True
    return value > best + by if aim.mode == "max" else value < best - by


def best_step(aim: KeepBestSpec, evaluated: Evaluations) -> int | None:
    """Returns the step with the best value, of equal ones the first; None when there is no value."""
    best: float | None = None
    found: int | None = None
    for step, metrics in evaluated.items():
        if improves(aim, metrics.get(aim.metric), best):
            best, found = metrics[aim.metric], step
    return found


def best_checkpoint(aim: KeepBestSpec, evaluated: Evaluations, complete: Sequence[Checkpoint]) -> Checkpoint | None:
    """Returns the checkpoint with the best evaluation, or None when none of them has been evaluated."""
    by_step = {checkpoint.manifest.step: checkpoint for checkpoint in complete}
    step = best_step(aim, {step: metrics for step, metrics in evaluated.items() if step in by_step})
    return None if step is None else by_step[step]


def reason_to_stop(stopping: EarlyStoppingSpec, evaluated: Evaluations) -> str | None:
    """Returns why training ends after the last of these evaluations, or None when it goes on.

    An improvement is measured from the last one that counted, so that many small ones that add up to more than
    `min_delta` count too.
    """
    best: float | None = None
    best_at, waited = 0, 0
    for step, metrics in evaluated.items():
        value = metrics.get(stopping.metric)
        if improves(stopping, value, best, stopping.min_delta):
            best, best_at, waited = value, step, 0
        else:
            waited += 1
    if waited < stopping.patience:
        return None
    since = "never had a finite value" if best is None else f"was best at step {best_at} with {best:.4g}"
    times = f"{waited} evaluations" if waited > 1 else "one evaluation"
    return f"`{stopping.metric}` has not improved for {times}: it {since}"


def refuse_unknown_metric(key: str, metric: str, reported: Mapping[str, float]) -> None:
    """Raises SpecError when the evaluation does not report a metric; `key` is the section that names it."""
    if metric in reported:
        return
    near = nearest(metric, reported)
    help = f"did you mean `{near}`?" if near else f"use {listed(reported)}"
    message = f"the evaluation reports no `{metric}`, only {listed(reported, 'and')}"
    raise SpecError(error("ZT732", "unknown-metric", message, help=help, key=f"{key}.metric"))
