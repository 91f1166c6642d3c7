"""The learning rate of every update."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zerotrain.compile.schedule import lr_factor
from zerotrain.spec.training import (
    ConstantSchedule,
    CosineSchedule,
    LinearSchedule,
    LrRangeTestSchedule,
    OneCycleSchedule,
    PolynomialSchedule,
    ScheduleSpec,
    WsdSchedule,
)
from zerotrain.units import Duration


def schedule_of(kind: str, floor: float, warmup: int) -> ScheduleSpec:
    rise = Duration.steps(warmup) if warmup else None
    if kind == "constant":
        return ConstantSchedule(type="constant", warmup=rise)
    if kind == "polynomial":
        return PolynomialSchedule(type="polynomial", power=1.5, min_lr_ratio=floor, warmup=rise)
    return {"linear": LinearSchedule, "cosine": CosineSchedule}[kind](type=kind, min_lr_ratio=floor, warmup=rise)  # type: ignore[arg-type]


KINDS = st.sampled_from(["constant", "linear", "cosine", "polynomial"])
FLOORS = st.floats(0, 1)
LENGTHS = st.tuples(st.integers(1, 200), st.integers(0, 200)).map(lambda pair: (max(pair), min(pair)))


def curve(kind: str, floor: float, steps: int, warmup: int) -> list[float]:
    """Returns the factor of every update; `curve[0]` is that of update 1."""
    schedule = schedule_of(kind, floor, warmup)
    return [lr_factor(schedule, update, total_steps=steps) for update in range(1, steps + 1)]


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
    schedule = schedule_of(kind, floor, warmup)
    last, later = (lr_factor(schedule, update, total_steps=steps) for update in (steps + 1, steps + 1 + more))

    assert later == last


def factors(schedule: ScheduleSpec, steps: int) -> list[float]:
    return [lr_factor(schedule, update, total_steps=steps) for update in range(1, steps + 1)]


@pytest.mark.parametrize(
    ("shape", "fall"),
    [
        ("linear", [0.8, 0.6, 0.4, 0.2]),
        ("cosine", [0.2 + 0.8 * (0.5 + 0.25 * math.sqrt(2)), 0.6, 0.2 + 0.8 * (0.5 - 0.25 * math.sqrt(2)), 0.2]),
        ("sqrt", [0.6, 0.2 + 0.8 * (1 - math.sqrt(0.5)), 0.2 + 0.8 * (1 - math.sqrt(0.75)), 0.2]),
    ],
)
def test_wsd_holds_the_peak_and_falls_in_its_last_steps(shape: str, fall: list[float]) -> None:
    lengths = {"warmup": Duration.steps(2), "decay": Duration.steps(4)}
    schedule = WsdSchedule(type="wsd", decay_shape=shape, min_lr_ratio=0.2, **lengths)  # type: ignore[arg-type]

    assert factors(schedule, 9) == pytest.approx([0.5, 1, 1, 1, 1, *fall])


@pytest.mark.parametrize(
    ("growth", "expected"),
    [("exponential", [0.0001, 0.001, 0.01, 0.1, 1]), ("linear", [0.0001, 0.250075, 0.50005, 0.750025, 1])],
)
def test_a_range_test_grows_from_its_first_rate_to_the_peak(growth: str, expected: list[float]) -> None:
    schedule = LrRangeTestSchedule(type="lr_range_test", growth=growth)  # type: ignore[arg-type]

    assert factors(schedule, 5) == pytest.approx(expected)
    assert factors(schedule, 1) == pytest.approx([1e-4])


def by_torch(make: Callable[[torch.optim.Optimizer], Any], steps: int) -> list[float]:
    """Returns the rate of every update by one of torch's schedulers; the peak is 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return rates


@settings(deadline=None)
@given(
    st.floats(0.05, 0.95),
    st.floats(1, 100),
    st.floats(1, 1e5),
    st.sampled_from(["cosine", "linear"]),
    st.integers(50, 90),
)
def test_one_cycle_is_torch_s(pct: float, div: float, final: float, anneal: str, steps: int) -> None:
    ours = OneCycleSchedule(
        type="one_cycle",
        pct_start=pct,
        div_factor=div,
        final_div_factor=final,
        anneal=anneal,  # type: ignore[arg-type]
    )
    shape = {"cosine": "cos", "linear": "linear"}[anneal]
    options: dict[str, Any] = {"pct_start": pct, "div_factor": div, "final_div_factor": final, "anneal_strategy": shape}

    def one_cycle(optimizer: torch.optim.Optimizer) -> Any:
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=steps + 1, **options)

    # torch refuses a step beyond its total, so that it is made one longer, and compared as such.
    assert factors(ours, steps + 1)[:steps] == pytest.approx(by_torch(one_cycle, steps))


@settings(deadline=None)
@given(st.floats(0.5, 4), st.integers(2, 60))
def test_polynomial_is_torch_s(power: float, steps: int) -> None:
    """torch's update 0, at the peak, is our first, and its last reaches 0."""

    def polynomial(optimizer: torch.optim.Optimizer) -> Any:
        return torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=steps - 1, power=power)

    ours = PolynomialSchedule(type="polynomial", power=power)
    assert factors(ours, steps) == pytest.approx(by_torch(polynomial, steps), abs=1e-9)
