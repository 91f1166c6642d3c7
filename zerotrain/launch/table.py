"""Which launchers there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zerotrain.launch import deepspeed, local, slurm, torchrun
from zerotrain.launch.job import Job, Order
from zerotrain.spec.launch import LaunchSpec

LAUNCHERS: Mapping[str, Callable[[Order], Job]] = {
    "local": local.prepare,
    "deepspeed": deepspeed.prepare,
    "torchrun": torchrun.prepare,
    "slurm": slurm.prepare,
}
"""What prepares a job, by `launch.type`."""


def is_numbered_here(launch: LaunchSpec) -> bool:
    """Tells whether the process that starts the ranks numbers their attempt.

    It does not where ranks are started in several places, more than once, or later by a scheduler.
    """
    return not (
        torchrun.is_on_several_machines(launch)
        or torchrun.may_start_again(launch)
        or (launch.type == "slurm" and slurm.is_outside())
    )
