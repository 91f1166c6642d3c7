"""The learning rate as a pure function of the number of the update."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from zerotrain.spec.training import (
    ConstantSchedule,
    LrRangeTestSchedule,
    OneCycleSchedule,
    PolynomialSchedule,
    ScheduleSpec,
    WarmedSchedule,
    WsdSchedule,
)

_FALLS: Mapping[str, Callable[[float], float]] = {
    "linear": lambda progress: 1.0 - progress,
    "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
    "sqrt": lambda progress: 1.0 - math.sqrt(progress),
}
"""Fraction of the height that is left, from 1 at progress 0 to 0 at progress 1."""


def lr_factor(schedule: ScheduleSpec, update: int, *, total_steps: int) -> float:
    """Returns the learning rate of an update as a fraction of the peak; the schedule's lengths are in steps.

    Updates are counted from 1 to `total_steps`; beyond the end the rate stays. A warmup rises in equal steps,
    `update / warmup`, so that no update is made at rate 0 and update `warmup` has the peak; then the rate falls, so
    that update `total_steps` has `min_lr_ratio`. Without a warmup the first update has the peak.
    """
    if isinstance(schedule, OneCycleSchedule):
        return _one_cycle(schedule, update, total_steps)
    if isinstance(schedule, LrRangeTestSchedule):
        return _range_test(schedule, update, total_steps)
    peak_at = max(1, warmup_steps(schedule))
    if update <= peak_at:
        return update / peak_at
    if isinstance(schedule, ConstantSchedule):
        return 1.0
    if isinstance(schedule, WsdSchedule):
        peak_at = max(peak_at, total_steps - schedule.decay.value)
    height = _fall(schedule, _progress(update, peak_at, total_steps))
    return schedule.min_lr_ratio + (1.0 - schedule.min_lr_ratio) * height


def warmup_steps(schedule: ScheduleSpec) -> int:
    """Returns the length of the warmup, which is in steps; 0 for a schedule without one."""
    warmup = schedule.warmup if isinstance(schedule, WarmedSchedule) else None
    return warmup.value if warmup else 0


def _fall(schedule: ScheduleSpec, progress: float) -> float:
    if isinstance(schedule, PolynomialSchedule):
        return (1.0 - progress) ** schedule.power
    return _FALLS[schedule.decay_shape if isinstance(schedule, WsdSchedule) else schedule.type](progress)


def _progress(update: int, begin: int, end: int) -> float:
    """Returns how far an update is between two others: 0 up to the first, 1 from the last on."""
    return min(1.0, max(0, update - begin) / max(1, end - begin))


def _one_cycle(schedule: OneCycleSchedule, update: int, total_steps: int) -> float:
    """Returns the rate of torch's `OneCycleLR` (torch/optim/lr_scheduler.py), which counts updates from 0."""
    shape, first = _FALLS[schedule.anneal], 1.0 / schedule.div_factor
    last, peak_at = first / schedule.final_div_factor, schedule.pct_start * total_steps
    if update <= peak_at:
        return 1.0 + (first - 1.0) * shape((update - 1) / max(1e-9, peak_at - 1))
    return last + (1.0 - last) * shape(min(1.0, (update - peak_at) / (total_steps - peak_at)))


def _range_test(schedule: LrRangeTestSchedule, update: int, total_steps: int) -> float:
    progress, start = min(1.0, (update - 1) / max(1, total_steps - 1)), schedule.start_lr_ratio
    if schedule.growth == "linear":
        return start + (1.0 - start) * progress
    return start ** (1.0 - progress)
