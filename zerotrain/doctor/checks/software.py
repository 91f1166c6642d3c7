"""Packages, and whether torch and DeepSpeed can be used at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from zerotrain.diagnostic import Diagnostic, error, warning
from zerotrain.doctor.checks.check import Check
from zerotrain.doctor.machine import Machine, Package
from zerotrain.doctor.need import Need
from zerotrain.hardware.software import TRAINING_PACKAGES
from zerotrain.launch import packages
from zerotrain.launch.packages import INSTALL, said_of_missing

_SHOWN = ("torch", "deepspeed", "transformers")

_COMPARE: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": lambda installed, bound: installed >= bound,
    "<": lambda installed, bound: installed < bound,
    "==": lambda installed, bound: installed == bound,
}


def missing_packages(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Packages of the extra that are not installed."""
    missing = [package.name for package in machine.software.packages if package.installed is None]
    hard = [name for name in missing if name in TRAINING_PACKAGES]
    where = machine.software.executable
    if hard:
        yield error("ZT802", "missing-packages", said_of_missing(hard, where), help=INSTALL)
    elif missing:
        message = said_of_missing(missing, where, "some tasks need")
        yield warning("ZT802", "missing-packages", message, help=INSTALL)


def untested_versions(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Packages whose versions are outside what zerotrain asks for."""
    for package in machine.software.packages:
        if package.installed is not None and not _is_tested(package):
            message = f"`{package.name}` {package.installed} is installed; zerotrain is tested with {package.tested}"
            yield warning("ZT850", "untested-version", message, help=f"pip install '{package.name}{package.tested}'")


def other_deepspeed(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Another DeepSpeed than the spec names."""
    installed = _installed(machine).get("deepspeed")
    if need.spec and installed and (other := packages.other_deepspeed(need.spec, installed)):
        yield other


def unusable_torch(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Torch or DeepSpeed that are installed and cannot be loaded."""
    if machine.torch_problem is not None:
        message = f"torch and DeepSpeed cannot be loaded: {machine.torch_problem}"
        help = f"see `{machine.software.executable} -c 'import torch, deepspeed'`"
        yield error("ZT851", "unusable-torch", message, help=help)


def _is_tested(package: Package) -> bool:
    bounds = (re.match(r"(>=|<|==)\s*([\d.]+)$", part.strip()) for part in package.tested.split(","))
    installed = _numbers(package.installed or "")
    return all(_COMPARE[bound[1]](installed, _numbers(bound[2])) for bound in bounds if bound)


def _numbers(version: str) -> tuple[int, ...]:
    """Returns the numbers a version begins with: 2.13.0+cpu and 2.13 are the same."""
    match = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else [0]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _installed(machine: Machine) -> dict[str, str | None]:
    return {package.name: package.installed for package in machine.software.packages}


def _packages(machine: Machine, need: Need) -> str:
    installed = _installed(machine)
    named = [f"{name} {installed[name]}" for name in _SHOWN if installed.get(name)]
    return ", ".join([f"Python {machine.software.python}", *named])


CHECKS = (Check("software", _packages, (missing_packages, untested_versions, other_deepspeed, unusable_torch)),)
"""What is looked at, in the order of the report."""
