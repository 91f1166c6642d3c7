"""The learning rate as a pure function of the number of the update."""

from __future__ import annotations

import math
from collections.abc import Callable

from zerotrain.spec.training import ConstantSchedule, ScheduleSpec

_DECAYS: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1.0 - progress,
    "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
}


def lr_factor(schedule: ScheduleSpec, update: int, *, warmup_steps: int, total_steps: int) -> float:
    """Returns the learning rate of an update as a fraction of the peak.

    Updates are counted from 1 to `total_steps`. The rate rises in equal steps, `update / warmup_steps`, so that no
    update is made at rate 0 and update `warmup_steps` has the peak; then it falls, so that update `total_steps` has
    `min_lr_ratio`. Without a warmup the first update has the peak.
    """
    peak_at = max(1, warmup_steps)
    if update <= peak_at:
        return update / peak_at
    floor = 1.0 if isinstance(schedule, ConstantSchedule) else schedule.min_lr_ratio
    progress = min(1.0, (update - peak_at) / max(1, total_steps - peak_at))
    return floor + (1.0 - floor) * _DECAYS[schedule.type](progress)
