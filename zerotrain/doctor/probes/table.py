"""Everything is asked at once, because most of the time goes into waiting."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from zerotrain.doctor.machine import Hosts, Machine
from zerotrain.doctor.need import Need, Place
from zerotrain.doctor.probes.builds import builds
from zerotrain.doctor.probes.devices import driver
from zerotrain.doctor.probes.hosts import hosts
from zerotrain.doctor.probes.network import network
from zerotrain.doctor.probes.software import software, torch_inventory
from zerotrain.doctor.probes.storage import storage
from zerotrain.hardware.builds import build_root
from zerotrain.spec.launch import DeepSpeedLaunch, LaunchSpec

_DEVICES = ("CUDA_VISIBLE_DEVICES", "CUDA_HOME", "NVIDIA_VISIBLE_DEVICES")


def look(need: Need) -> Machine:
    """Returns everything there is to know about the machines of a run."""
    installed = software()
    can_ask = all(package.installed for package in installed.packages if package.name in ("torch", "deepspeed"))
    with ThreadPoolExecutor() as pool:
        torch = pool.submit(torch_inventory, need.ops, need.on_cpu) if can_ask else None
        others = pool.submit(_hosts, need)
        shown = pool.submit(driver)
        around = pool.submit(network)
        made = builds()
        places = (*need.places, Place(None, "compiled ops", build_root()))
        inventory, problem = torch.result() if torch else (None, None)
        return Machine(
            software=installed,
            torch=inventory,
            torch_problem=problem,
            builds=made,
            driver=shown.result(),
            storage=storage(places),
            network=around.result(),
            hosts=others.result(),
            environment={name: value for name in _DEVICES if (value := os.environ.get(name)) is not None},
        )


def _hosts(need: Need) -> Hosts | None:
    if need.hostfile is None or need.spec is None:
        return None
    return hosts(need.hostfile, need.paths, chosen(need.spec.launch))


def chosen(launch: LaunchSpec) -> Callable[[str], bool]:
    """Returns which machines of the hostfile are used: `include` and `exclude` name them before a colon."""
    if not isinstance(launch, DeepSpeedLaunch) or not (launch.include or launch.exclude):
        return lambda name: True
    parts = [part.partition(":") for part in (launch.include or launch.exclude or "").split("@")]
    if launch.include:
        included = {name for name, _, _ in parts}
        return lambda name: name in included
    # A machine some of whose slots are excluded is still used.
    excluded = {name for name, colon, _ in parts if not colon}
    return lambda name: name not in excluded
