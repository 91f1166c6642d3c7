"""Slow ranks are told from those that were slow once."""

from __future__ import annotations

from zerotrain.monitor.stragglers import Stragglers
from zerotrain.spec.health import StragglerSpec

EVEN = [(0.01, 0.02)] * 8


def with_slow(rank: int, chore: int, factor: float) -> list[tuple[float, float]]:
    changed = list(EVEN)
    pair = list(changed[rank])
    pair[chore] *= factor
    changed[rank] = (pair[0], pair[1])
    return changed


def test_a_rank_is_named_once_when_it_has_been_slow_often_enough() -> None:
    stragglers = Stragglers(StragglerSpec(factor=2.0, patience=3))

    said = [[str(slow) for slow in stragglers.look(with_slow(5, 0, 2.5))] for _ in range(5)]

    assert said == [[], [], ["rank 5 takes 2.5 times as long as most ranks to read its data: 0.025 s"], [], []]


def test_a_rank_that_is_slow_now_and_then_is_not_named() -> None:
    stragglers = Stragglers(StragglerSpec(factor=2.0, patience=2))

    assert not any(stragglers.look(seconds) for seconds in (with_slow(1, 1, 9), EVEN) * 10)


def test_what_takes_no_time_delays_nobody() -> None:
    stragglers = Stragglers(StragglerSpec(patience=1))

    assert stragglers.look([(1e-6, 0.02), (1e-6, 0.02), (9e-4, 0.02)]) == []
