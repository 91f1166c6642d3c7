"""The `deepspeed` launcher."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from zerotrain.diagnostic import error
from zerotrain.errors import LaunchError
from zerotrain.launch.environment import passed_on, shared_environment
from zerotrain.launch.job import Command, Job, Order
from zerotrain.spec.launch import DeepSpeedLaunch

_ENV_FILE = ".deepspeed_env"
_SPECIAL = re.compile(r'[\\"$`]')
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
        *(_on_machines(launch) if launch.hostfile else ()),
        *("--log_level", "error", "--no_local_rank", "--module"),
        *order.worker,
    )
    variables = shared_environment(order)
    if launch.hostfile is None:
        return Job((Command(arguments, variables),), order.log, order.grace)
    file = order.log.with_name("deepspeed_env").absolute()
    command = Command(arguments, variables | {"DS_ENV_FILE": str(file)})
    return Job((command,), order.log, order.grace, files={file: _exported(passed_on() | variables)})


def _on_machines(launch: DeepSpeedLaunch) -> tuple[str, ...]:
    return (
        *("--launcher", launch.launcher),
        *(("--launcher_args", launch.launcher_args) if launch.launcher_args else ()),
        *(("--master_addr", launch.master_address) if launch.master_address else ()),
        *(("--ssh_port", str(launch.ssh_port)) if launch.ssh_port else ()),
    )


def _exported(variables: Mapping[str, str]) -> str:
    """Returns what other machines are told to set: the user's own `.deepspeed_env`, then these variables.

    The launcher puts every line between double quotes into a shell command (`add_export` in
    launcher/multinode_runner.py), so what a shell would change there is escaped, and what has several lines left out.
    """
    own = [path for path in (Path.home() / _ENV_FILE, Path(_ENV_FILE)) if path.is_file()]
    lines = [line for path in own for line in path.read_text(encoding="utf-8").splitlines() if "=" in line]
    ours = (f"{name}={_SPECIAL.sub(_escaped, value)}" for name, value in variables.items() if "\n" not in value)
    return "\n".join([*lines, *ours]) + "\n"


def _escaped(special: re.Match[str]) -> str:
    return f"\\{special[0]}"


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
