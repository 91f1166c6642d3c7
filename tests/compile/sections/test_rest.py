"""Activation checkpointing, monitors, logs and checkpoint tags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zerotrain.compile.resolve import Resolved
from zerotrain.compile.sections.rest import emit_activation_checkpointing, emit_housekeeping, emit_monitors

Settled = Callable[..., Resolved]


def values(section: Any) -> Any:
    return {key: values(entry) for key, entry in section.items()} if isinstance(section, dict) else section.value


@pytest.mark.parametrize("written", ["none", "full", "{granularity: none, implementation: deepspeed}"])
def test_deepspeed_is_not_told_of_checkpointing_it_does_not_do(settled: Settled, written: str) -> None:
    assert emit_activation_checkpointing(settled(activation_checkpointing=written)) == {}


def test_deepspeed_s_own_checkpointing_has_every_option(settled: Settled) -> None:
    written = "{granularity: full, implementation: deepspeed, cpu_checkpointing: true, partition_activations: true}"

    assert values(emit_activation_checkpointing(settled(activation_checkpointing=written))) == {
        "activation_checkpointing": {
            "partition_activations": True,
            "cpu_checkpointing": True,
            "contiguous_memory_optimization": False,
            "synchronize_checkpoint_boundary": False,
            "profile": False,
        }
    }


def test_a_monitor_that_is_off_is_left_out(settled: Settled) -> None:
    assert emit_monitors(settled(monitor="{tensorboard: false}")) == {}


def test_deepspeed_s_monitor_writes_into_the_run_directory(settled: Settled) -> None:
    assert values(emit_monitors(settled(monitor="{tensorboard: true}"))) == {
        "tensorboard": {"enabled": True, "output_path": "runs/tiny/tensorboard", "job_name": "tiny"}
    }


def test_housekeeping_is_the_same_in_every_run(settled: Settled) -> None:
    assert values(emit_housekeeping(settled())) == {
        "steps_per_print": 100,
        "wall_clock_breakdown": False,
        "checkpoint": {"tag_validation": "Fail"},
    }
