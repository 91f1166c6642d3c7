"""`torchrun` on this machine."""

from __future__ import annotations

import sys

from zerotrain.launch.job import Command, Job, Order, shared_environment


def prepare(order: Order) -> Job:
    """Returns the command line of torchrun."""
    arguments = (
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--nnodes", "1", "--nproc-per-node", str(order.topology.gpus_per_node)),
        *("--master-addr", "127.0.0.1", "--master-port", str(order.port)),
        "--module",
        *order.worker,
    )
    return Job((Command(arguments, shared_environment(order)),), order.log)
