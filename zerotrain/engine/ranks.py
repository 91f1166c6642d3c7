"""Which rank this process is, as its launcher says."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass

from zerotrain.hardware.probe import free_port


@dataclass(frozen=True)
class Ranks:
    """The place of this process among the others."""

    rank: int
    local_rank: int
    world_size: int
    local_world_size: int

    @property
    def is_first(self) -> bool:
        """True on rank 0."""
        return self.rank == 0


def read_ranks(environment: MutableMapping[str, str] = os.environ) -> Ranks:
    """Returns the ranks set by `deepspeed`, `torchrun` or our own launcher; a process started alone is the only rank.

    Fills in what DeepSpeed reads and a launcher may leave out: without `LOCAL_RANK` it refuses to start, without
    `MASTER_ADDR` it looks for MPI, and without `LOCAL_SIZE` (which `torchrun` does not set) it counts NUMA nodes as
    devices on a CPU (accelerator/cpu_accelerator.py).
    """
    world_size = int(environment.setdefault("WORLD_SIZE", "1"))
    rank = int(environment.setdefault("RANK", "0"))
    local_rank = int(environment.setdefault("LOCAL_RANK", str(rank)))
    local_world_size = int(environment.get("LOCAL_WORLD_SIZE") or environment.get("LOCAL_SIZE") or world_size)
    environment.setdefault("LOCAL_SIZE", str(local_world_size))
    environment.setdefault("MASTER_ADDR", "127.0.0.1")
    if "MASTER_PORT" not in environment:
        environment["MASTER_PORT"] = str(free_port())
    return Ranks(rank, local_rank, world_size, local_world_size)
