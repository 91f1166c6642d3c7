"""The command line of torchrun."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from torch.distributed.run import get_args_parser

from zerotrain.launch.environment import shared_environment
from zerotrain.launch.job import Order
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
    assert command.environment.items() >= shared_environment(made).items()


@pytest.mark.parametrize("ranks", [1, 2])
def test_torchrun_understands_it(order: Callable[..., Order], ranks: int) -> None:
    (command,) = prepare(order(hardware=f"{{gpu: cpu, gpus_per_node: {ranks}}}", launch="{type: torchrun}")).commands
    given = get_args_parser().parse_args(list(command.arguments[3:]))

    assert (given.nnodes, given.nproc_per_node, given.module) == ("1", str(ranks), True)
    assert (given.master_addr, given.master_port) == ("127.0.0.1", 29501)
    assert (given.training_script, given.training_script_args) == ("zerotrain.worker", ["runs/tiny", "--attempt", "3"])


TWO = "{gpu: H100-SXM, num_nodes: 2, gpus_per_node: 4}"


@pytest.mark.parametrize(
    ("launch", "expected"),
    [
        (
            "{type: torchrun, endpoint: 'node-0:1234', node_rank: 1}",
            ["--node-rank", "1", "--rdzv-conf", "timeout=1800", "--master-addr", "node-0", "--master-port", "1234"],
        ),
        (
            "{type: torchrun, endpoint: node-0}",
            ["--node-rank", "0", "--rdzv-conf", "timeout=1800", "--master-addr", "node-0", "--master-port", "29500"],
        ),
        (
            "{type: torchrun, rendezvous: c10d, endpoint: '127.0.0.1:1234', timeout: 5 minutes, max_restarts: 3}",
            [
                *("--local-addr", "127.0.0.1"),
                *("--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:1234", "--rdzv-id", "tiny"),
                *("--rdzv-conf", "join_timeout=300,is_host=True", "--max-restarts", "3"),
            ],
        ),
    ],
)
def test_several_machines_meet_where_the_spec_says(
    order: Callable[..., Order], launch: str, expected: list[str]
) -> None:
    made = order(launch=launch, hardware=TWO, batch="{global_batch_size: 16, micro_batch_size: 1}")
    arguments = list(prepare(made).commands[0].arguments[3:])
    given = get_args_parser().parse_args(arguments)

    assert arguments[4:-5] == expected
    assert (given.nnodes, given.nproc_per_node, given.training_script) == ("2", "4", "zerotrain.worker")


def test_one_machine_may_meet_again_after_a_fault(order: Callable[..., Order]) -> None:
    (command,) = prepare(order(launch="{type: torchrun, rendezvous: c10d, max_restarts: 2}")).commands

    assert "127.0.0.1:29501" in command.arguments
