"""What a launcher is asked to start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from socket import gethostname

from zerotrain.launch.job import Order

Make = Callable[..., Order]


def test_the_launcher_s_log_is_in_the_attempt_s_directory(order: Make) -> None:
    assert str(order().log) == "runs/tiny/logs/attempt-3/launcher.log"


def test_where_ranks_number_their_attempts_every_machine_has_a_log_of_its_own(order: Make) -> None:
    started, made = replace(order(), attempt=None), replace(order(), attempt=None, source=("run.yaml", "seed=2"))

    assert (started.worker, str(started.log)) == (
        ("zerotrain.worker", "runs/tiny"),
        f"runs/tiny/logs/{gethostname()}.log",
    )
    assert (made.worker, str(made.log)) == (
        ("zerotrain.worker", "run.yaml", "seed=2"),
        f"runs/tiny.{gethostname()}.log",
    )
