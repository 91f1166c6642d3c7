"""What is compiled at the first start, and locks that builds have left."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.diagnostic import Diagnostic, error, warning
from zerotrain.doctor.checks.check import Check
from zerotrain.doctor.machine import Lock, Machine, Op
from zerotrain.doctor.need import Need
from zerotrain.units import format_seconds

QUIET_SECONDS = 600
"""A build in which nothing changed for so long is over: no file of DeepSpeed's takes as long to compile."""

_REMEDIES = {
    "async_io": "`apt-get install libaio-dev`, or set CFLAGS and LDFLAGS to where libaio is",
}


def no_compiler(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Tools that are missing while something is to be compiled."""
    builds = machine.builds
    missing = [tool for tool, path in (("g++", builds.compiler), ("ninja", builds.ninja)) if path is None]
    if missing and (need.spec is None or machine.torch is None or _unbuilt(machine)):
        message = f"DeepSpeed compiles ops at first use, and there is no `{'` and no `'.join(missing)}`"
        help = "install them: `apt-get install g++` and `pip install ninja`, or set CXX to your compiler"
        yield error("ZT801", "no-compiler", message, help=help)


def impossible_op(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Ops of this run that DeepSpeed cannot build here."""
    if machine.torch is None or (need.on_gpu and _has_no_toolkit(machine)):
        return
    for op in machine.torch.ops:
        if op.problem is not None:
            help = _REMEDIES.get(op.name, "see `ds_report`")
            yield error("ZT852", "impossible-op", f"DeepSpeed cannot build `{op.name}`: {op.problem}", help=help)


def no_toolkit(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Ops of a GPU that are to be compiled without a CUDA compiler that DeepSpeed takes."""
    torch = machine.torch
    if torch is None or not need.on_gpu or not _unbuilt(machine) or not _has_no_toolkit(machine):
        return
    ops = " and ".join(f"`{op.name}`" for op in _unbuilt(machine))
    why = f"nvcc is of CUDA {torch.toolkit}" if torch.toolkit else "there is no nvcc"
    message = f"{ops} must be compiled with CUDA {torch.cuda}, as torch was, and {why}"
    help = f"install CUDA {torch.cuda} with its compiler, and set CUDA_HOME to it"
    yield error("ZT853", "no-cuda-toolkit", message, help=help)


def left_lock(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Locks of builds that were killed, on which torch waits for ever (torch/utils/file_baton.py)."""
    for lock in machine.builds.locks:
        if lock.held:
            continue
        age = format_seconds(lock.quiet_seconds)
        if lock.quiet_seconds >= QUIET_SECONDS:
            message = f"`{lock.path}` is left over: no process has it open, and nothing was built there for {age}"
            yield warning("ZT854", "left-lock", f"{message}; what loads the op waits for ever", help=f"rm {lock.path}")
        else:
            message = f"no process of this machine has `{lock.path}` open, and something changed there {age} ago"
            help = f"unless another machine or container builds there: rm {lock.path}"
            yield warning("ZT854", "left-lock", message, help=help)


def _has_no_toolkit(machine: Machine) -> bool:
    torch = machine.torch
    return torch is not None and torch.cuda is not None and (torch.toolkit is None or torch.toolkit_problem is not None)


def _unbuilt(machine: Machine) -> list[Op]:
    return [op for op in machine.torch.ops if not op.built] if machine.torch else []


def _tools(machine: Machine, need: Need) -> str:
    found = {"compiler": machine.builds.compiler, "ninja": machine.builds.ninja}
    return ", ".join(path or f"no {tool}" for tool, path in found.items())


def _ops(machine: Machine, need: Need) -> str | None:
    if machine.torch is None or not machine.torch.ops:
        return None
    unbuilt = [op.name for op in _unbuilt(machine)]
    built = [op.name for op in machine.torch.ops if op.built]
    to_build = f"{', '.join(unbuilt)} to be compiled at the first start, about a minute" if unbuilt else ""
    return "; ".join(part for part in (f"{', '.join(built)} built" if built else "", to_build) if part)


def _locks(machine: Machine, need: Need) -> str:
    held: list[Lock] = [lock for lock in machine.builds.locks if lock.held]
    if held:
        return f"`{held[0].path}`: being built now"
    count = len(machine.builds.locks)
    return f"{count} left by builds" if count else "none left by builds"


CHECKS = (
    Check("compiler", _tools, (no_compiler,)),
    Check("ops", _ops, (impossible_op, no_toolkit)),
    Check("build locks", _locks, (left_lock,)),
)
"""What is looked at, in the order of the report."""
