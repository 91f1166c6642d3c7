"""Every launcher that a spec can name exists."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest

from zerotrain.launch.job import Order
from zerotrain.launch.table import LAUNCHERS
from zerotrain.spec.launch import LaunchSpec

KINDS = [get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(get_args(LaunchSpec)[0])]


def test_the_table_has_every_launcher_of_the_spec() -> None:
    assert sorted(LAUNCHERS) == sorted(KINDS)


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"kubernetes"}))
def test_every_launcher_prepares_the_run_s_worker(order: Callable[..., Order], kind: str) -> None:
    job = LAUNCHERS[kind](order(launch=f"{{type: {kind}}}"))

    assert job.commands
    for command in job.commands:
        assert " ".join(command.arguments).endswith("zerotrain.worker runs/tiny --attempt 3")
        assert all(isinstance(value, str) for value in command.environment.values())
