"""Speed and memory."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from zerotrain.monitor.meters import Speed, StepClock


def test_mfu_is_the_share_of_all_accelerators_peak():
    speed = Speed(flops_per_token=6e9, peak_flops=989e12, world_size=8)

    assert speed.mfu(tokens_per_second=8 * 50_000) == pytest.approx(50_000 * 6e9 / 989e12)


@pytest.mark.parametrize("unknown", [Speed(None, 1e12, 1), Speed(6e9, None, 1)])
def test_mfu_is_unknown_where_a_part_of_it_is(unknown):
    assert unknown.mfu(100.0) is None


def test_a_lap_ends_one_step_and_begins_the_next():
    clock = StepClock()

    time.sleep(0.02)
    first, second = clock.lap(), clock.lap()

    assert first >= 0.02 > second


def test_what_is_left_out_does_not_count():
    clock = StepClock()

    time.sleep(0.02)
    clock.restart()

    assert clock.lap() < 0.02


def test_peak_memory_grows_with_what_is_held():
    """In a process of its own: what others have held before would hide it."""
    code = """
import torch
from zerotrain.monitor.meters import peak_bytes
before = peak_bytes()
held = torch.ones(64 * 1024 * 1024)
print(peak_bytes() - before > held.numel() * 2)
"""

    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "True\n"
