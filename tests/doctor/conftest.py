"""Made-up machines: facts that a verdict is tested on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from zerotrain.diagnostic import Diagnostic
from zerotrain.doctor.checks.check import Verdict
from zerotrain.doctor.machine import (
    Answer,
    Builds,
    Device,
    Directory,
    Driver,
    Host,
    Hosts,
    Machine,
    Memory,
    Network,
    Op,
    Package,
    Software,
    Storage,
    Torch,
)
from zerotrain.doctor.need import Need
from zerotrain.hardware.gpus import GPUS

GIB = 2**30

ANSWER = Answer("head", "3.11.7", {"torch": "2.13.0", "deepspeed": "0.19.8"}, (), 2)
HOSTS = Hosts(
    "hosts",
    hosts=(Host("worker-1", 2, 1, replace(ANSWER, hostname="worker-1")), Host("head", 2, 2, ANSWER)),
    here=ANSWER,
    pdsh="/usr/bin/pdsh",
)
MACHINE = Machine(
    software=Software("3.11.7", "/venv/bin/python", (Package("torch", "2.13.0+cu130", ">=2.9"),)),
    torch=Torch("2.13.0+cu130", "13.0", None, "cuda", 2, "13.0", None, (Op("fused_adam", "/ops", True, None),)),
    torch_problem=None,
    builds=Builds("/usr/bin/g++", "/usr/bin/ninja", ()),
    driver=Driver(
        "580.1", "13.0", tuple(Device(i, "NVIDIA H100 80GB HBM3", 80 * GIB, 80 * GIB, False) for i in (0, 1))
    ),
    storage=Storage(
        Memory(64 * GIB, False, 60 * GIB),
        8 * GIB,
        65536,
        (Directory("name", "checkpoints", "/home/me/runs", None, "ext4", 100 * GIB),),
    ),
    network=Network("head", "10.0.0.1", None, ("lo", "eth0"), {}, None, None),
)
"""A machine with two GPUs and nothing wrong."""

Make = Callable[..., Machine]
Judge = Callable[..., list[Diagnostic]]


def gpu_need(**changes: Any) -> Need:
    """Returns what a run on two H100 needs."""
    return Need(**{"gpu": GPUS["H100-SXM"], "ranks": 2, **changes})


def cpu_need(**changes: Any) -> Need:
    """Returns what a run on two processor ranks needs."""
    return Need(**{"gpu": GPUS["cpu"], "ranks": 2, **changes})


def with_parts(**changes: dict[str, Any]) -> Machine:
    """Returns the good machine with fields of its parts changed: `with_parts(torch={"devices": 1})`."""
    parts = {part: replace(getattr(MACHINE, part), **fields) for part, fields in changes.items()}
    return replace(MACHINE, **parts)


@pytest.fixture
def judge() -> Judge:
    """Returns what a verdict finds on a machine, by default for a run on two GPUs."""

    def run(verdict: Verdict, machine: Machine = MACHINE, need: Need | None = None) -> list[Diagnostic]:
        return list(verdict(machine, need or gpu_need()))

    return run
