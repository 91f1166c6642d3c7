"""The schedule in DeepSpeed's own words, for use without zerotrain.

Inside a run zerotrain sets the learning rate itself (`compile/schedule.py`), because DeepSpeed's schedulers give other
curves (runtime/lr_schedules.py, DeepSpeed 0.19.8). Used by hand this section gives the nearest one: `WarmupLR`, and
`WarmupDecayLR` without a floor, are ours two updates late, their first two updates at the minimum; `WarmupCosineLR` is
two updates late in the warmup and one in the decay, and never at the peak; with a floor `WarmupDecayLR` also rises from
the floor instead of 0; `OneCycle` rises and falls in straight lines, and ends at the rate it began with; `LRRangeTest`
grows in a straight line.
"""

from __future__ import annotations

from typing import Any

from zerotrain.compile.dsconfig import ZEROTRAIN, Section, Setting
from zerotrain.compile.resolve import Resolved
from zerotrain.compile.schedule import warmup_steps
from zerotrain.diagnostic import Diagnostic, warning
from zerotrain.spec.training import (
    ConstantSchedule,
    CosineSchedule,
    DecayingSchedule,
    LrRangeTestSchedule,
    MuonSpec,
    OneCycleSchedule,
    PolynomialSchedule,
    ScheduleSpec,
    WarmedSchedule,
    WsdSchedule,
)


def emit_schedule(resolved: Resolved) -> Section:
    """Returns DeepSpeed's scheduler, or nothing when the rate is constant or `left_out` says why it cannot be said."""
    schedule = resolved.spec.schedule
    if left_out(resolved) is not None:
        return {}
    if isinstance(schedule, ConstantSchedule):
        warmup = warmup_steps(schedule)
        return _scheduler("WarmupLR", _rates(resolved, warmup, floor=0.0)) if warmup > 1 else {}
    assert resolved.steps is not None, "an uncounted horizon leaves the scheduler out"
    if isinstance(schedule, OneCycleSchedule):
        return _scheduler("OneCycle", _cycle(resolved, schedule, resolved.steps))
    if isinstance(schedule, LrRangeTestSchedule):
        return _scheduler("LRRangeTest", _range_test(resolved, schedule, resolved.steps))
    return _decay(resolved, schedule)


def _decay(resolved: Resolved, schedule: DecayingSchedule) -> Section:
    warmup, why = warmup_steps(resolved.spec.schedule), resolved.derivations.get("horizon", "as written")
    total: Section = {"total_num_steps": Setting(resolved.steps, "horizon", why)}
    if not isinstance(schedule, CosineSchedule):
        return _scheduler("WarmupDecayLR", total | _rates(resolved, warmup, floor=schedule.min_lr_ratio))
    ratios: Section = {
        "warmup_min_ratio": Setting(0.0, ZEROTRAIN, "the warmup rises from 0"),
        "cos_min_ratio": Setting(schedule.min_lr_ratio, "schedule.min_lr_ratio", "as written"),
    }
    return _scheduler("WarmupCosineLR", total | ratios | _warmup(warmup))


def _cycle(resolved: Resolved, schedule: OneCycleSchedule, steps: int) -> Section:
    peaks, rise = _peaks(resolved), max(1, round(schedule.pct_start * steps))
    lowest = [peak / schedule.div_factor for peak in peaks]
    return {
        "cycle_min_lr": Setting(_each(lowest), "schedule.div_factor", "the peak divided by it"),
        "cycle_max_lr": Setting(_each(peaks), "optimizer.lr", "the peak"),
        "cycle_first_step_size": Setting(rise, "schedule.pct_start", f"{schedule.pct_start} of {steps} steps"),
        "cycle_second_step_size": Setting(max(0, steps - rise), "schedule.pct_start", "the rest of the run"),
        "cycle_momentum": Setting(False, ZEROTRAIN, "DeepSpeed's own default moves the momentum too"),
    }


def _range_test(resolved: Resolved, schedule: LrRangeTestSchedule, steps: int) -> Section:
    peaks, start, growing = _peaks(resolved), schedule.start_lr_ratio, max(1, steps - 1)
    lowest, rate = [start * peak for peak in peaks], 1.0 / start - 1.0
    return {
        "lr_range_test_min_lr": Setting(_each(lowest), "schedule.start_lr_ratio", "`start_lr_ratio` of the peak"),
        "lr_range_test_step_size": Setting(growing, "horizon", "the last step has the peak"),
        "lr_range_test_step_rate": Setting(rate, "schedule.start_lr_ratio", "the growth relative to the first rate"),
        "lr_range_test_staircase": Setting(False, ZEROTRAIN, "the rate grows at every step"),
    }


def left_out(resolved: Resolved) -> Diagnostic | None:
    """Returns a warning when no scheduler is compiled although the rate is not constant."""
    return _unsayable(resolved.spec.schedule) or _uncounted(resolved)


def _unsayable(schedule: ScheduleSpec) -> Diagnostic | None:
    """Returns a warning for a curve that none of DeepSpeed's schedulers is near to."""
    is_curved = isinstance(schedule, PolynomialSchedule) and schedule.power != 1.0
    if not is_curved and not isinstance(schedule, WsdSchedule):
        return None
    message = f"no `scheduler` is compiled: DeepSpeed has none like `{schedule.type}`"
    help = "set the rate in the script; a run of zerotrain's sets it itself"
    return warning("ZT155", "unsayable-schedule", message, key="schedule.type", help=help)


def _uncounted(resolved: Resolved) -> Diagnostic | None:
    """Returns a warning when only prepared data tell how many steps an epoch has."""
    schedule = resolved.spec.schedule
    warmup = schedule.warmup if isinstance(schedule, WarmedSchedule) else None
    if warmup is not None and warmup.unit == "epochs":
        key, length = "schedule.warmup", warmup
    elif not isinstance(schedule, ConstantSchedule) and resolved.steps is None:
        key, length = "horizon", resolved.spec.horizon
    else:
        return None
    message = f"no `scheduler` is compiled: how many steps {length} are is known only when the data is prepared"
    help = "give it in steps or tokens; a run of zerotrain's counts the steps itself"
    return warning("ZT109", "uncounted-schedule", message, key=key, help=help)


def _scheduler(kind: str, params: Section) -> Section:
    return {"scheduler": {"type": Setting(kind, "schedule.type", "DeepSpeed's nearest scheduler"), "params": params}}


def _rates(resolved: Resolved, warmup: int, floor: float) -> Section:
    peaks = _peaks(resolved)
    return {
        "warmup_min_lr": Setting(_each([floor * peak for peak in peaks]), "schedule", "`min_lr_ratio` of the peak"),
        "warmup_max_lr": Setting(_each(peaks), "optimizer.lr", "the peak; DeepSpeed's own default is 0.001"),
        **_warmup(warmup),
    }


def _warmup(steps: int) -> Section:
    return {
        "warmup_num_steps": Setting(max(1, steps), "schedule.warmup", "in steps; DeepSpeed takes at least 1"),
        "warmup_type": Setting("linear", ZEROTRAIN, "DeepSpeed's own default is a logarithm"),
    }


def _peaks(resolved: Resolved) -> list[float]:
    optimizer = resolved.spec.optimizer
    if isinstance(optimizer, MuonSpec) and optimizer.adam_lr is not None:
        return [optimizer.lr, optimizer.adam_lr]
    return [optimizer.lr]


def _each(values: list[float]) -> Any:
    return values[0] if len(values) == 1 else values
