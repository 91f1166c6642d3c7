"""`torchrun`: on this machine, or on each of several."""

from __future__ import annotations

import sys

from zerotrain.hardware.probe import way_to
from zerotrain.launch.environment import shared_environment
from zerotrain.launch.job import Command, Job, Order
from zerotrain.spec.launch import LaunchSpec, TorchrunLaunch

_PORT = 29500
_NEW_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
"""With one store for all starts, new ranks look for dead ones: torch 2.13 no longer tells starts apart in it
(`_create_c10d_store` in distributed/rendezvous.py)."""


def prepare(order: Order) -> Job:
    """Returns the command line of torchrun for this machine."""
    launch = order.spec.launch
    assert isinstance(launch, TorchrunLaunch), "chosen by its type"
    arguments = (
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--nnodes", str(order.topology.num_nodes), "--nproc-per-node", str(order.topology.gpus_per_node)),
        *(_c10d(order, launch) if launch.rendezvous == "c10d" else _static(order, launch)),
        *(("--max-restarts", str(launch.max_restarts)) if launch.max_restarts else ()),
        "--module",
        *order.worker,
    )
    return Job((Command(arguments, shared_environment(order) | _NEW_STORE),), order.log, order.grace)


def is_on_several_machines(launch: LaunchSpec) -> bool:
    """Tells whether other machines start their ranks of the run themselves."""
    return isinstance(launch, TorchrunLaunch) and launch.endpoint is not None


def may_start_again(launch: LaunchSpec) -> bool:
    """Tells whether torchrun starts ranks again that have failed."""
    return isinstance(launch, TorchrunLaunch) and launch.max_restarts > 0


def _static(order: Order, launch: TorchrunLaunch) -> tuple[str, ...]:
    address, port = _endpoint(launch, order.port)
    others = ("--node-rank", str(launch.node_rank), "--rdzv-conf", f"timeout={launch.timeout.seconds}")
    return (*(others if launch.endpoint else ()), "--master-addr", address, "--master-port", str(port))


def _c10d(order: Order, launch: TorchrunLaunch) -> tuple[str, ...]:
    address, port = _endpoint(launch, order.port)
    # torchrun asks for this machine by its name, which many networks do not know, or know as another.
    way = way_to(address)
    own, settings = (("--local-addr", way[0]), f",is_host={way[0] == way[1]}") if way else ((), "")
    return (
        *own,
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", f"{address}:{port}", "--rdzv-id", order.run.name),
        *("--rdzv-conf", f"join_timeout={launch.timeout.seconds}{settings}"),
    )


def _endpoint(launch: TorchrunLaunch, free: int) -> tuple[str, int]:
    """Returns where machines meet; on one machine, at a port that is free there."""
    if launch.endpoint is None:
        return "127.0.0.1", free
    address, _, port = launch.endpoint.rpartition(":") if ":" in launch.endpoint else (launch.endpoint, "", "")
    return address, int(port or _PORT)
