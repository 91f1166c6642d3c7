"""Ranks started directly."""

from __future__ import annotations

import sys
from collections.abc import Callable

from zerotrain.launch.environment import shared_environment
from zerotrain.launch.job import Order
from zerotrain.launch.local import prepare


def test_every_rank_is_a_process_with_its_number(order: Callable[..., Order]) -> None:
    made = order()
    job = prepare(made)

    assert job.log == made.log
    assert [command.arguments for command in job.commands] == [
        (sys.executable, "-u", "-m", "zerotrain.worker", "runs/tiny", "--attempt", "3"),
    ] * 2
    for rank, command in enumerate(job.commands):
        assert command.environment == {
            **shared_environment(made),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "2",
            "LOCAL_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": "29501",
        }


def test_one_rank_is_one_process(order: Callable[..., Order]) -> None:
    assert len(prepare(order(hardware="{gpu: cpu}")).commands) == 1


def test_preparing_has_no_effect(order: Callable[..., Order]) -> None:
    made = order()

    assert prepare(made) == prepare(made)
    assert not made.log.exists()
