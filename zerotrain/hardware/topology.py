"""How many ranks there are, and how the parallel axes share them."""

from __future__ import annotations

from dataclasses import dataclass

from zerotrain.spec.parallelism import HardwareSpec, ParallelSpec


@dataclass(frozen=True)
class Topology:
    """The ranks of a run. Expert parallelism takes its ranks from the data-parallel ones."""

    num_nodes: int
    gpus_per_node: int
    tp: int = 1
    pp: int = 1
    sp: int = 1
    ep: int = 1

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return self.num_nodes * self.gpus_per_node

    @property
    def model_parallel_size(self) -> int:
        """Number of ranks that work on the same samples."""
        return self.tp * self.pp * self.sp

    @property
    def dp(self) -> int:
        """Number of ranks that work on different samples; 0 when there are too few ranks for the other axes."""
        return self.world_size // self.model_parallel_size

    def dp_rank(self, rank: int) -> int:
        """Returns the number of a rank among those that work on different samples.

        From the outermost axis to the innermost the order is pipeline, data, and tensor or sequence, as DeepSpeed's
        groups have it (AutoTP and Ulysses take neighbours, runtime/pipe/topology.py takes `pipe` first): ranks that
        talk most are on one machine. Expert parallelism takes its ranks from the data-parallel ones.
        """
        return rank // (self.tp * self.sp) % self.dp

    def tp_rank(self, rank: int) -> int:
        """Returns which part of the divided layers a rank has."""
        return rank % self.tp

    def sp_rank(self, rank: int) -> int:
        """Returns which stretch of its samples a rank has."""
        return rank % self.sp


def topology_of(
    hardware: HardwareSpec, parallel: ParallelSpec, world_size: int | None = None, *, one_machine: bool = False
) -> Topology:
    """Returns the topology of a spec; `world_size`, if given, replaces the number of ranks in `hardware`.

    A world size that fills no whole number of nodes is taken as one rank per node; on `one_machine`, the only node of
    `hardware`, there may be any number of ranks.
    """
    nodes, per_node = hardware.num_nodes, hardware.gpus_per_node
    if world_size is not None and world_size != nodes * per_node:
        nodes, per_node = _spread(world_size, world_size if one_machine and nodes == 1 else per_node)
    return Topology(nodes, per_node, parallel.tp, parallel.pp, parallel.sp, parallel.ep)


def _spread(world_size: int, per_node: int) -> tuple[int, int]:
    if world_size <= per_node:
        return 1, world_size
    return (world_size // per_node, per_node) if world_size % per_node == 0 else (world_size, 1)
