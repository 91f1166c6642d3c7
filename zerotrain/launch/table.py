"""Which launchers there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zerotrain.launch import deepspeed, kubernetes, local, slurm, torchrun
from zerotrain.launch.job import Job, Order
from zerotrain.spec.launch import LaunchSpec

LAUNCHERS: Mapping[str, Callable[[Order], Job]] = {
    "local": local.prepare,
    "deepspeed": deepspeed.prepare,
    "torchrun": torchrun.prepare,
    "slurm": slurm.prepare,
    "kubernetes": kubernetes.prepare,
}
"""What prepares a job, by `launch.type`."""


def is_numbered_here(launch: LaunchSpec) -> bool:
    """Tells whether the process that starts the ranks numbers their attempt.

    It does not where ranks are started in several places, more than once, or later by a scheduler.
    """
    return not (torchrun.is_on_several_machines(launch) or torchrun.may_start_again(launch) or is_submitted(launch))


def is_made_elsewhere(launch: LaunchSpec) -> bool:
    """Tells whether the run directory, and the data, are where this process cannot see them."""
    return launch.type == "kubernetes"


def is_submitted(launch: LaunchSpec) -> bool:
    """Tells whether the run is handed to a scheduler."""
    return is_made_elsewhere(launch) or (launch.type == "slurm" and slurm.is_outside())
