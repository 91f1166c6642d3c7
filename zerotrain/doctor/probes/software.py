"""The interpreter, its packages, and what torch and DeepSpeed say of themselves."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires
from typing import Any

from pydantic import TypeAdapter

from zerotrain.doctor.machine import Package, Software, Torch
from zerotrain.hardware.software import TRAINING_PACKAGES, installed_version

_INVENTORY = "zerotrain.engine.inventory"
_SECONDS = 120
_REQUIREMENT = re.compile(r"^([\w.-]+)\s*\(?([^;)]*)\)?(?:;.*extra == .train.*)$")


def software() -> Software:
    """Returns the interpreter, and the packages of `zerotrain[train]` in the order of its requirements."""
    return Software(platform.python_version(), sys.executable, tuple(_package(*named) for named in _requirements()))


def _requirements() -> list[tuple[str, str]]:
    """Returns name and versions of what the extra asks for, as the installed metadata has it.

    Beside a source tree that was never installed these are the packages without which nothing can be trained.
    """
    try:
        lines = requires("zerotrain") or []
    except PackageNotFoundError:
        return [(name, "") for name in TRAINING_PACKAGES]
    matches = (_REQUIREMENT.match(line) for line in lines)
    return [(match[1], match[2].strip()) for match in matches if match]


def _package(name: str, tested: str) -> Package:
    return Package(name, installed_version(name), tested)


def torch_inventory(
    builders: Sequence[str], on_cpu: bool, seconds: float = _SECONDS
) -> tuple[Torch | None, str | None]:
    """Returns what torch and DeepSpeed say in a process of their own, or why they say nothing.

    `on_cpu` asks for the devices of a run on processors, whatever else the machine has.
    """
    command = [sys.executable, "-W", "ignore", "-m", _INVENTORY, *builders]
    environment = {**os.environ, **({"DS_ACCELERATOR": "cpu"} if on_cpu else {})}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=False, env=environment, errors="replace"
        )
    except subprocess.TimeoutExpired:
        return None, f"no answer within {seconds:.0f}s"
    found = last_json(done.stdout)
    if done.returncode != 0 or found is None:
        return None, last_words(done.stderr) or f"ended with exit code {done.returncode}"
    return TypeAdapter(Torch).validate_python(found), None


def last_json(output: str) -> dict[str, Any] | None:
    """Returns the last JSON object that stands on a line of its own; libraries print before it."""
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            try:
                return json.loads(line)
            except ValueError:
                continue
    return None


def last_words(output: str) -> str:
    """Returns the last line that says something; nothing when none does."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else ""
