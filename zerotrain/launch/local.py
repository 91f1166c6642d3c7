"""Ranks started directly on this machine."""

from __future__ import annotations

import sys

from zerotrain.launch.environment import shared_environment
from zerotrain.launch.job import Command, Job, Order


def prepare(order: Order) -> Job:
    """Returns one command per rank."""
    shared = shared_environment(order)
    size = order.topology.world_size
    commands = tuple(
        Command((sys.executable, "-u", "-m", *order.worker), shared | _rank(order, rank, size)) for rank in range(size)
    )
    return Job(commands, order.log, order.grace)


def _rank(order: Order, rank: int, size: int) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "LOCAL_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(order.port),
    }
