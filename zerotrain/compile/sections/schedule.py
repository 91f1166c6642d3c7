"""The schedule in DeepSpeed's own words, for use without zerotrain.

Inside a run zerotrain sets the learning rate itself (`compile/schedule.py`), because DeepSpeed's schedulers give other
curves (runtime/lr_schedules.py, DeepSpeed 0.19.8). Used by hand this section gives the nearest one: `WarmupLR`, and
`WarmupDecayLR` without a floor, are ours two updates late, their first two updates at the minimum; `WarmupCosineLR` is
two updates late in the warmup and one in the decay, and never at the peak; with a floor `WarmupDecayLR` also rises from
the floor instead of 0.
"""

from __future__ import annotations

from typing import Any

from zerotrain.compile.dsconfig import ZEROTRAIN, Section, Setting
from zerotrain.compile.resolve import Resolved
from zerotrain.diagnostic import Diagnostic, Place, Severity
from zerotrain.spec.training import ConstantSchedule, MuonSpec


def emit_schedule(resolved: Resolved) -> Section:
    """Returns DeepSpeed's scheduler, or nothing when the rate is constant or a number of steps is not known yet."""
    schedule, steps = resolved.spec.schedule, resolved.steps
    if uncounted(resolved) is not None:
        return {}
    warmup = schedule.warmup.value if schedule.warmup else 0
    if isinstance(schedule, ConstantSchedule):
        return _scheduler("WarmupLR", _rates(resolved, warmup, floor=0.0)) if warmup > 1 else {}
    total = {"total_num_steps": Setting(steps, "horizon", resolved.derivations.get("horizon", "as written"))}
    if schedule.type == "linear":
        return _scheduler("WarmupDecayLR", total | _rates(resolved, warmup, floor=schedule.min_lr_ratio))
    ratios: Section = {
        "warmup_min_ratio": Setting(0.0, ZEROTRAIN, "the warmup rises from 0"),
        "cos_min_ratio": Setting(schedule.min_lr_ratio, "schedule.min_lr_ratio", "as written"),
    }
    return _scheduler("WarmupCosineLR", total | ratios | _warmup(warmup))


def uncounted(resolved: Resolved) -> Diagnostic | None:
    """Returns a warning when the scheduler is left out, because only prepared data tell how many steps an epoch has."""
    schedule = resolved.spec.schedule
    decays = not isinstance(schedule, ConstantSchedule)
    if schedule.warmup is not None and schedule.warmup.unit == "epochs":
        key, length = "schedule.warmup", schedule.warmup
    elif decays and resolved.steps is None:
        key, length = "horizon", resolved.spec.horizon
    else:
        return None
    message = f"no `scheduler` is compiled: how many steps {length} are is known only when the data is prepared"
    help = "give it in steps or tokens; a run of zerotrain's counts the steps itself"
    return Diagnostic("ZT109", "uncounted-schedule", Severity.WARNING, message, Place(key=key), help)


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
