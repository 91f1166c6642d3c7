"""The `deepspeed` launcher."""

from __future__ import annotations

import os
import sys

from zerotrain.launch.job import WORKER, Command, Job, Order, shared_environment
from zerotrain.spec.parallelism import DeepSpeedLaunch

_NO_HOSTFILE = os.devnull
"""Not a regular file, so the launcher does not fall back to /job/hostfile, which some machines have."""


def prepare(order: Order) -> Job:
    """Returns the command line of the launcher.

    `deepspeed.launcher.runner` is what the `deepspeed` script runs; named so, it is the one of this interpreter.
    """
    launch = order.spec.launch
    assert isinstance(launch, DeepSpeedLaunch), "chosen by its type"
    arguments = (
        *(sys.executable, "-m", "deepspeed.launcher.runner"),
        *("--hostfile", launch.hostfile or _NO_HOSTFILE),
        *_where(order, launch),
        *("--master_port", str(order.port)),
        *("--log_level", "error", "--no_local_rank", "--module"),
        *(WORKER, str(order.run.root)),
    )
    return Job((Command(arguments, shared_environment(order)),), order.log)


def _where(order: Order, launch: DeepSpeedLaunch) -> tuple[str, ...]:
    if launch.include:
        return ("--include", launch.include)
    if launch.exclude:
        return ("--exclude", launch.exclude)
    visible = [device for device in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if device]
    if launch.hostfile is None and len(visible) >= order.topology.gpus_per_node:
        # With --num_gpus the launcher drops CUDA_VISIBLE_DEVICES and takes the first devices (launcher/runner.py).
        return ("--include", f"localhost:{','.join(visible[: order.topology.gpus_per_node])}")
    return ("--num_nodes", str(order.topology.num_nodes), "--num_gpus", str(order.topology.gpus_per_node))
