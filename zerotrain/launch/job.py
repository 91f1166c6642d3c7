"""What a launcher prepares: commands with their environment, and nothing done yet."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zerotrain.hardware.gpus import find_gpu
from zerotrain.hardware.probe import cpu_count
from zerotrain.hardware.topology import Topology
from zerotrain.runs.layout import RunDirectory
from zerotrain.spec.run import RunSpec

WORKER = "zerotrain.worker"


@dataclass(frozen=True)
class Command:
    """One process to start."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    """Added to the environment of this process."""


@dataclass(frozen=True)
class Job:
    """All processes to start for one attempt."""

    commands: tuple[Command, ...]
    log: Path
    """Where the launcher's own words go."""


@dataclass(frozen=True)
class Order:
    """What a launcher is asked to start."""

    run: RunDirectory
    spec: RunSpec
    topology: Topology
    attempt: int
    port: int
    """Where the ranks meet."""

    @property
    def log(self) -> Path:
        """The launcher's log."""
        return self.run.attempt(self.attempt) / "launcher.log"

    @property
    def worker(self) -> tuple[str, ...]:
        """The worker's module and its arguments: `deepspeed` sends most variables to no other machine."""
        return (WORKER, str(self.run.root), "--attempt", str(self.attempt))

    @property
    def has_gpus(self) -> bool:
        """False when the ranks compute on processors."""
        gpu = find_gpu(self.spec.hardware.gpu)
        return gpu is None or not gpu.host


def shared_environment(order: Order) -> dict[str, str]:
    """Returns the variables every rank gets."""
    variables = {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}
    if not order.has_gpus:
        threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cpu_count() // order.topology.gpus_per_node))
        variables |= {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": threads}
    return variables
