"""GPUs: whether there are enough, the ones that are meant, free, and usable with this torch."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.diagnostic import Diagnostic, error, warning
from zerotrain.doctor.checks.check import Check, trains_here
from zerotrain.doctor.machine import Device, Machine
from zerotrain.doctor.need import Need
from zerotrain.errors import LaunchError
from zerotrain.hardware.gpus import find_gpu
from zerotrain.launch.deepspeed import visible_devices
from zerotrain.spec.launch import DeepSpeedLaunch
from zerotrain.units import format_bytes

_FREE = 0.9
"""Share of a GPU's memory below which someone else must be using it; a driver takes a few percent."""


def cpu_torch(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """A torch that knows no GPU."""
    torch = machine.torch
    if torch is not None and _is_asked(machine, need) and torch.cuda is None and torch.hip is None:
        message = f"torch {torch.version} is built without CUDA, and the run is meant for `{_gpu(need)}`"
        help = "install a torch with CUDA, or change `hardware.gpu`"
        yield error("ZT855", "torch-without-cuda", message, help=help, key="hardware.gpu")


def old_driver(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """A driver that is older than the CUDA of torch; inside one major version all work together (CUDA 11 and later)."""
    torch, driver = machine.torch, machine.driver
    if torch is None or driver is None or torch.cuda is None or not _is_asked(machine, need):
        return
    if _major(torch.cuda) > _major(driver.cuda):
        message = f"torch is built with CUDA {torch.cuda}, and driver {driver.version} knows only up to {driver.cuda}"
        help = f"a newer driver, or a torch built with CUDA {_major(driver.cuda)}"
        yield error("ZT856", "old-driver", message, help=help)


def too_few_gpus(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Fewer devices than ranks."""
    torch = machine.torch
    if torch is None or not _is_asked(machine, need) or not (torch.cuda or torch.hip):
        return
    if torch.devices < need.ranks:
        visible = machine.environment.get("CUDA_VISIBLE_DEVICES")
        why = f"; `CUDA_VISIBLE_DEVICES` is `{visible}`" if visible is not None else ""
        why = "; `nvidia-smi` does not answer" if torch.cuda and machine.driver is None else why
        message = f"torch sees {torch.devices} devices, and the run is meant for {need.ranks} on each machine{why}"
        help = "start it where there are more, or change `hardware.gpus_per_node`"
        yield error("ZT857", "too-few-gpus", message, help=help, key="hardware.gpus_per_node")


def other_gpu(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Another GPU than the spec names; a name nobody knows says nothing."""
    found = sorted({device.name for device in _used(machine, need) if find_gpu(device.name) not in (None, need.gpu)})
    if found:
        message = f"the run is meant for `{_gpu(need)}`, and this machine has `{'` and `'.join(found)}`"
        help = "change `hardware.gpu`, by which memory and speed are judged"
        yield warning("ZT858", "other-gpu", message, help=help, key="hardware.gpu")


def busy_gpu(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Devices whose memory someone else has."""
    for device in _used(machine, need):
        if device.free < _FREE * device.memory:
            taken = format_bytes(device.memory - device.free)
            message = f"{taken} of the {format_bytes(device.memory)} of GPU {device.index} are taken"
            yield warning("ZT859", "busy-gpu", message, help="see `nvidia-smi`, or choose others: CUDA_VISIBLE_DEVICES")


def sliced_gpu(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Devices that are cut into slices, of which CUDA gives a process one only."""
    sliced = [device.index for device in _used(machine, need) if device.mig]
    if sliced and need.ranks > 1:
        message = f"GPU {sliced[0]} is cut into MIG slices, of which a process sees one, and NCCL joins none"
        yield warning("ZT860", "sliced-gpu", message, help="one rank, or `nvidia-smi -i N -mig 0` to make it whole")


def named_devices(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Devices that the `deepspeed` launcher cannot be told."""
    launch = need.spec.launch if need.spec else None
    if need.on_gpu and isinstance(launch, DeepSpeedLaunch) and need.hostfile is None:
        try:
            visible_devices(machine.environment.get("CUDA_VISIBLE_DEVICES", ""))
        except LaunchError as refused:
            yield from refused.findings


def _is_asked(machine: Machine, need: Need) -> bool:
    return need.on_gpu and trains_here(machine)


def _used(machine: Machine, need: Need) -> list[Device]:
    """Returns the devices of this machine that ranks can see; all when they are not named by number."""
    if machine.driver is None or not _is_asked(machine, need):
        return []
    named = [word.strip() for word in machine.environment.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    numbers = [int(word) for word in named if word.isascii() and word.isdigit()]
    return [device for device in machine.driver.devices if not numbers or device.index in numbers]


def _gpu(need: Need) -> str:
    return need.gpu.name if need.gpu else ""


def _major(version: str) -> int:
    return int(version.partition(".")[0])


def _devices(machine: Machine, need: Need) -> str | None:
    driver = machine.driver
    if need.on_cpu or (driver is None and not need.on_gpu):
        return None
    if not trains_here(machine):
        return "not asked of this machine, which only starts the ranks"
    if driver is None:
        return f"{machine.torch.devices if machine.torch else 0} devices"
    names = sorted({device.name for device in driver.devices})
    return f"{len(driver.devices)} x {' and '.join(names)}, driver {driver.version}, CUDA up to {driver.cuda}"


CHECKS = (
    Check("GPUs", _devices, (cpu_torch, old_driver, too_few_gpus, other_gpu, busy_gpu, sliced_gpu, named_devices)),
)
"""What is looked at, in the order of the report."""
