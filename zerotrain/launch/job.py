"""What a launcher prepares: commands with their environment, and nothing done yet."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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


def shared_environment(order: Order) -> dict[str, str]:
    """Returns the variables every rank gets."""
    variables = {
        "ZEROTRAIN_ATTEMPT": str(order.attempt),
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        # torch looks for ninja on the path; pip installs it beside the interpreter.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    if order.spec.hardware.gpu == "cpu":
        threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cpu_count() // order.topology.gpus_per_node))
        variables |= {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": threads}
    return variables
