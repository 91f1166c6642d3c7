"""What a launcher prepares: commands with their environment, and nothing done yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from socket import gethostname

from zerotrain.hardware.gpus import find_gpu
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
    grace: float = 10.0
    """Seconds that its processes get to end by themselves when someone asks them to."""
    files: Mapping[Path, str] = field(default_factory=dict)
    """Written before anything starts."""
    is_submitted: bool = False
    """The one command hands the job to a scheduler, and prints what it is called there."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the ranks get besides, where this process does not start them."""
    hints: tuple[str, ...] = ()
    """What a user may do next with a job that was submitted."""


@dataclass(frozen=True)
class Order:
    """What a launcher is asked to start."""

    run: RunDirectory
    spec: RunSpec
    topology: Topology
    attempt: int | None
    """Number of the attempt; None where several processes start its ranks, or start them again: these number it."""
    port: int
    """Where the ranks meet."""
    source: tuple[str, ...] = ()
    """A spec and its overrides, of which the ranks make the run; empty when there is a run directory."""

    @property
    def log(self) -> Path:
        """The launcher's log."""
        if self.attempt is not None:
            return self.run.attempt(self.attempt) / "launcher.log"
        name = f"{gethostname()}.log"
        return self.run.root.with_name(f"{self.run.name}.{name}") if self.source else self.run.logs / name

    @property
    def grace(self) -> float:
        """Seconds that ranks may take to save when they are asked to stop."""
        return float(self.spec.launch.grace.seconds)

    @property
    def worker(self) -> tuple[str, ...]:
        """The worker's module and its arguments: `deepspeed` sends most variables to no other machine."""
        if self.source:
            return (WORKER, *self.source)
        return (WORKER, str(self.run.root), *(("--attempt", str(self.attempt)) if self.attempt else ()))

    @property
    def has_gpus(self) -> bool:
        """False when the ranks compute on processors."""
        gpu = find_gpu(self.spec.hardware.gpu)
        return gpu is None or not gpu.host
