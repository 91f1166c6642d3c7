"""The command line of torchrun."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from torch.distributed.run import get_args_parser

from zerotrain.launch.job import Order, shared_environment
from zerotrain.launch.torchrun import prepare


def test_the_whole_command_line(order: Callable[..., Order]) -> None:
    made = order(launch="{type: torchrun}")
    (command,) = prepare(made).commands

    assert command.arguments == (
        sys.executable,
        *("-m", "torch.distributed.run"),
        *("--nnodes", "1", "--nproc-per-node", "2"),
        *("--master-addr", "127.0.0.1", "--master-port", "29501"),
        *("--module", "zerotrain.worker", "runs/tiny", "--attempt", "3"),
    )
    assert command.environment == shared_environment(made)


@pytest.mark.parametrize("ranks", [1, 2])
def test_torchrun_understands_it(order: Callable[..., Order], ranks: int) -> None:
    (command,) = prepare(order(hardware=f"{{gpu: cpu, gpus_per_node: {ranks}}}", launch="{type: torchrun}")).commands
    given = get_args_parser().parse_args(list(command.arguments[3:]))

    assert (given.nnodes, given.nproc_per_node, given.module) == ("1", str(ranks), True)
    assert (given.master_addr, given.master_port) == ("127.0.0.1", 29501)
    assert (given.training_script, given.training_script_args) == ("zerotrain.worker", ["runs/tiny", "--attempt", "3"])
