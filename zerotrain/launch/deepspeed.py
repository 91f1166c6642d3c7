"""The `deepspeed` launcher."""

from __future__ import annotations

import os
import sys

from zerotrain.diagnostic import error
from zerotrain.errors import LaunchError
from zerotrain.launch.job import Command, Job, Order, shared_environment
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
        *order.worker,
    )
    return Job((Command(arguments, shared_environment(order)),), order.log)


def _where(order: Order, launch: DeepSpeedLaunch) -> tuple[str, ...]:
    if launch.include:
        return ("--include", launch.include)
    if launch.exclude:
        return ("--exclude", launch.exclude)
    visible = (
        visible_devices(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
        if order.has_gpus and launch.hostfile is None
        else []
    )
    if len(visible) >= order.topology.gpus_per_node:
        return ("--include", f"localhost:{','.join(visible[: order.topology.gpus_per_node])}")
    return ("--num_nodes", str(order.topology.num_nodes), "--num_gpus", str(order.topology.gpus_per_node))


def visible_devices(written: str) -> list[str]:
    """Returns the numbers of the devices that a value of CUDA_VISIBLE_DEVICES leaves on this machine; none when empty.

    With `--num_gpus` the launcher drops the variable and takes the first devices of the machine (launcher/runner.py);
    with `--include` it takes numbers only. Raises LaunchError for devices named by UUID, which it can take in no way.
    """
    named = [device.strip() for device in written.split(",")]
    unread = [device for device in named if device and not (device.isascii() and device.isdigit())]
    if unread:
        message = f"`CUDA_VISIBLE_DEVICES` names `{unread[0]}`, and the `deepspeed` launcher takes numbers only"
        help = "use `launch.type: torchrun`, or name the devices by number"
        raise LaunchError(error("ZT808", "named-devices", message, help=help, key="launch.type"))
    return [device for device in named if device]
