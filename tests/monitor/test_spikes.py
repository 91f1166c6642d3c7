"""Leaps of the loss are told from its noise."""

from __future__ import annotations

import random

from zerotrain.monitor.spikes import SpikeDetector
from zerotrain.spec.health import LossSpikeSpec


def noisy(count: int, middle: float = 3.0, deviation: float = 0.05) -> list[float]:
    draw = random.Random(1)
    return [draw.gauss(middle, deviation) for _ in range(count)]


def test_noise_is_no_spike_and_a_leap_is_one() -> None:
    detector = SpikeDetector(LossSpikeSpec(window=50))

    assert [loss for loss in noisy(2000) if detector.look(loss)] == []
    spike = detector.look(3.6)
    assert spike is not None
    assert 9 < spike.deviations < 16, "0.6 over about 0.05"
    assert str(spike).startswith("the loss leapt to 3.6, ")


def test_nothing_is_a_spike_before_half_of_the_window_is_there() -> None:
    detector = SpikeDetector(LossSpikeSpec(window=10), noisy(4))

    assert detector.look(50.0) is None
    assert detector.look(50.0) is not None, "five losses are there, and one leap among them does not move the median"


def test_a_falling_loss_and_a_smooth_one_are_no_spikes() -> None:
    falling = SpikeDetector(LossSpikeSpec(window=20), [8.0 - 0.1 * step for step in range(20)])
    smooth = SpikeDetector(LossSpikeSpec(window=20), [2.0] * 20)

    assert falling.look(4.0) is None
    assert smooth.look(2.1) is None, "5 % above a curve without any noise"
    assert smooth.look(2.2) is not None


def test_spikes_do_not_become_what_the_next_are_compared_with() -> None:
    detector = SpikeDetector(LossSpikeSpec(window=10), noisy(10))

    assert all(detector.look(9.0) for _ in range(20))
