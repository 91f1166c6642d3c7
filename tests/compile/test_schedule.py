"""The learning rate of every update."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerotrain.compile.schedule import lr_factor
from zerotrain.spec.training import ConstantSchedule, CosineSchedule, LinearSchedule, ScheduleSpec


def schedule_of(kind: str, floor: float) -> ScheduleSpec:
    if kind == "constant":
        return ConstantSchedule(type="constant")
    return {"linear": LinearSchedule, "cosine": CosineSchedule}[kind](type=kind, min_lr_ratio=floor)  # type: ignore[arg-type]


KINDS = st.sampled_from(["constant", "linear", "cosine"])
FLOORS = st.floats(0, 1)
LENGTHS = st.tuples(st.integers(1, 200), st.integers(0, 200)).map(lambda pair: (max(pair), min(pair)))


def curve(kind: str, floor: float, steps: int, warmup: int) -> list[float]:
    """Returns the factor of every update; `curve[0]` is that of update 1."""
    schedule = schedule_of(kind, floor)
    return [lr_factor(schedule, update, warmup_steps=warmup, total_steps=steps) for update in range(1, steps + 1)]


@pytest.mark.parametrize(
    ("kind", "floor", "warmup", "expected"),
    [
        ("constant", 0.0, 0, [1, 1, 1, 1, 1]),
        ("constant", 0.0, 4, [0.25, 0.5, 0.75, 1, 1]),
        ("linear", 0.0, 0, [1, 0.75, 0.5, 0.25, 0]),
        ("linear", 0.0, 1, [1, 0.75, 0.5, 0.25, 0]),
        ("linear", 0.2, 1, [1, 0.8, 0.6, 0.4, 0.2]),
        ("linear", 0.5, 3, [1 / 3, 2 / 3, 1, 0.75, 0.5]),
        ("cosine", 0.0, 1, [1, 0.5 + 0.5 * math.sqrt(0.5), 0.5, 0.5 - 0.5 * math.sqrt(0.5), 0]),
        ("cosine", 0.2, 3, [1 / 3, 2 / 3, 1, 0.6, 0.2]),
        ("cosine", 0.1, 5, [0.2, 0.4, 0.6, 0.8, 1]),
        ("linear", 0.1, 10, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ("cosine", 1.0, 2, [0.5, 1, 1, 1, 1]),
    ],
)
def test_known_curves(kind: str, floor: float, warmup: int, expected: list[float]) -> None:
    assert curve(kind, floor, 5, warmup) == pytest.approx(expected)


@given(KINDS, FLOORS, LENGTHS)
def test_the_peak_is_reached_by_the_last_update_of_the_warmup(
    kind: str, floor: float, lengths: tuple[int, int]
) -> None:
    steps, warmup = lengths
    factors = curve(kind, floor, steps, warmup)

    assert factors[max(1, warmup) - 1] == 1.0
    assert max(factors) == 1.0


@given(st.sampled_from(["linear", "cosine"]), st.floats(0, 0.99), LENGTHS)
def test_a_decay_leaves_the_peak_after_one_update(kind: str, floor: float, lengths: tuple[int, int]) -> None:
    steps, warmup = lengths
    factors = curve(kind, floor, steps, warmup)

    assert factors.count(1.0) == 1


@given(KINDS, FLOORS, LENGTHS)
def test_it_rises_in_equal_steps_and_then_never_rises_again(kind: str, floor: float, lengths: tuple[int, int]) -> None:
    steps, warmup = lengths
    factors = curve(kind, floor, steps, warmup)
    rise, fall = factors[:warmup], factors[max(0, warmup - 1) :]

    assert rise == pytest.approx([update / max(1, warmup) for update in range(1, warmup + 1)])
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(fall))


@given(st.sampled_from(["linear", "cosine"]), FLOORS, LENGTHS)
def test_the_last_update_has_the_floor_and_none_falls_below(kind: str, floor: float, lengths: tuple[int, int]) -> None:
    steps, warmup = lengths
    after = curve(kind, floor, steps, warmup)[max(0, warmup - 1) :]

    assert min(after) >= floor - 1e-12
    if steps > max(1, warmup):
        assert after[-1] == pytest.approx(floor)


@given(KINDS, FLOORS, LENGTHS)
def test_no_update_is_made_at_rate_zero_but_a_last_one_without_a_floor(
    kind: str, floor: float, lengths: tuple[int, int]
) -> None:
    steps, warmup = lengths
    factors = curve(kind, floor, steps, warmup)

    assert all(factor > 0 for factor in factors[:-1])
    assert factors[-1] > 0 or floor < 1e-12


@given(KINDS, FLOORS, LENGTHS, st.integers(0, 100))
def test_beyond_the_end_the_rate_stays(kind: str, floor: float, lengths: tuple[int, int], more: int) -> None:
    steps, warmup = lengths
    schedule = schedule_of(kind, floor)
    last, later = (
        lr_factor(schedule, update, warmup_steps=warmup, total_steps=steps) for update in (steps + 1, steps + 1 + more)
    )

    assert later == last
