"""Which launchers there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zerotrain.launch import deepspeed, local, slurm, torchrun
from zerotrain.launch.job import Job, Order

LAUNCHERS: Mapping[str, Callable[[Order], Job]] = {
    "local": local.prepare,
    "deepspeed": deepspeed.prepare,
    "torchrun": torchrun.prepare,
    "slurm": slurm.prepare,
}
"""What prepares a job, by `launch.type`."""
