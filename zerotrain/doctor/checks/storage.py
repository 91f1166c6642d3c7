"""Memory, disks and limits: whether there is room."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.diagnostic import Diagnostic, error, warning
from zerotrain.doctor.checks.check import Check, trains_here
from zerotrain.doctor.machine import Directory, Machine
from zerotrain.doctor.need import Need
from zerotrain.units import format_bytes

WORKSPACE = 2 * 2**20 + 2 * 32 * 2**20 + 8
"""Bytes of /dev/shm for each rank on processors (`allreduce_workspace`, csrc/cpu/comm/shm.cpp)."""

_FOR_NCCL = 2**30
"""What NCCL's documentation gives a container: `--shm-size=1g` (Troubleshooting)."""
_OPEN_FILES = 1024
"""What Linux gives a process unless someone says less."""
_IN_MEMORY = ("tmpfs", "ramfs")


def small_shared_memory(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Too little of /dev/shm, of which containers have 64 MiB."""
    free = machine.storage.shared_free
    if free is None or not trains_here(machine):
        return
    there = format_bytes(free)
    help = "give the container more: `docker run --shm-size=1g`, or an `emptyDir` of `medium: Memory`"
    if need.on_gpu and need.ranks > 1 and free < _FOR_NCCL:
        message = f"{there} of /dev/shm are free, and NCCL passes data between {need.ranks} ranks there"
        yield warning("ZT861", "small-shared-memory", message, help=help)
    if not need.on_cpu or free >= need.ranks * WORKSPACE:
        return
    message = f"{need.ranks} ranks need {format_bytes(need.ranks * WORKSPACE)} of /dev/shm, and {there} are free"
    if free <= (need.ranks - 1) * WORKSPACE:
        # Each rank takes what it gets, and one that gets nothing maps no memory and goes on.
        yield error("ZT861", "small-shared-memory", f"{message}; a rank that finds it full ends by SIGSEGV", help=help)
    else:
        yield warning("ZT861", "small-shared-memory", message, help=help)


def too_little_memory(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Weights and optimizer states that do not fit into the memory of the host."""
    memory = machine.storage.memory
    if memory is None or not trains_here(machine):
        return
    wanted, limit = format_bytes(need.host_memory), format_bytes(memory.limit)
    whose = "this container may take" if memory.is_container_limit else "this machine has"
    if need.host_memory > memory.limit:
        message = f"weights and optimizer take {wanted} of host memory at least, and {whose} {limit}"
        help = "a higher ZeRO stage, more machines, or a smaller model"
        yield error("ZT862", "too-little-memory", message, help=help)
    elif need.host_memory > memory.available:
        free = format_bytes(memory.available)
        message = f"weights and optimizer take {wanted} of host memory at least, and {free} of {limit} are free"
        yield warning("ZT862", "too-little-memory", message, help="end what takes the rest")


def unwritable_directory(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Directories of the run in which nothing can be written."""
    for place in machine.storage.directories:
        if place.problem is not None:
            message = f"{place.purpose} cannot be written to `{place.path}`: {place.problem}"
            help = "change its owner or rights, or name another directory"
            yield error("ZT863", "unwritable-directory", message, help=help, key=place.key)


def full_disk(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Less space than the checkpoints take that are kept."""
    place = _checkpoints(machine)
    if place is not None and place.free < need.checkpoints:
        wanted, free = format_bytes(need.checkpoints), format_bytes(place.free)
        message = f"the checkpoints that are kept and the next one take {wanted}, and `{place.path}` has {free} free"
        help = "free some space, start elsewhere, or lower `checkpoint.keep_last`"
        yield error("ZT864", "full-disk", message, help=help, key="checkpoint.keep_last")


def offload_to_memory(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Offloading to a disk that is memory."""
    for place in machine.storage.directories:
        if _is_offload(place) and place.filesystem in _IN_MEMORY:
            message = f"`{place.path}` is a {place.filesystem}, which is memory and no disk"
            help = "name a directory of a local disk, or use `device: cpu`"
            yield warning("ZT865", "offload-to-memory", message, help=help, key=place.key)


def few_open_files(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """A limit of open files that ranks and their connections meet."""
    if machine.storage.open_files < _OPEN_FILES:
        message = f"a process may open {machine.storage.open_files} files"
        yield warning("ZT866", "few-open-files", message, help=f"`ulimit -n {_OPEN_FILES}` or more")


def _checkpoints(machine: Machine) -> Directory | None:
    return next((place for place in machine.storage.directories if place.purpose == "checkpoints"), None)


def _is_offload(place: Directory) -> bool:
    return place.purpose == "offloaded states"


def _shared(machine: Machine, need: Need) -> str | None:
    free = machine.storage.shared_free
    if free is None:
        return None
    wanted = f", {format_bytes(need.ranks * WORKSPACE)} needed" if need.on_cpu else ""
    return f"{format_bytes(free)} free{wanted}"


def _memory(machine: Machine, need: Need) -> str | None:
    memory = machine.storage.memory
    if memory is None:
        return None
    wanted = f", weights and optimizer take {format_bytes(need.host_memory)} at least" if need.host_memory else ""
    return f"{format_bytes(memory.available)} of {format_bytes(memory.limit)} free{wanted}"


def _disk(machine: Machine, need: Need) -> str | None:
    place = _checkpoints(machine)
    if place is None:
        return None
    wanted = f", checkpoints take {format_bytes(need.checkpoints)}" if need.checkpoints else ""
    return f"{format_bytes(place.free)} free{wanted}"


def _directories(machine: Machine, need: Need) -> str:
    return ", ".join(dict.fromkeys(place.path for place in machine.storage.directories))


def _files(machine: Machine, need: Need) -> str:
    return f"{machine.storage.open_files} at once"


CHECKS = (
    Check("/dev/shm", _shared, (small_shared_memory,)),
    Check("memory", _memory, (too_little_memory,)),
    Check("disk", _disk, (full_disk,)),
    Check("directories", _directories, (unwritable_directory, offload_to_memory)),
    Check("open files", _files, (few_open_files,)),
)
"""What is looked at, in the order of the report."""
