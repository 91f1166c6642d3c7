"""The schedule in DeepSpeed's words, against DeepSpeed's own schedulers.

A script by hand calls `optimizer.step()` and then `scheduler.step()`, as DeepSpeed's engine does. The scheduler is made
before the first update and counts its own steps from 0, so update `u` is made at its step `u - 2`:

- `WarmupLR` and `WarmupDecayLR` are ours, two updates late: update `u` has our rate of update `u - 2`, and the first
  two have the rate a warmup begins with;
- `WarmupCosineLR` is two updates late in its warmup and one in its decay, since it counts the decay from 1: the peak
  itself is left out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from deepspeed.runtime import lr_schedules

from zerotrain.compile.resolve import Resolved
from zerotrain.compile.schedule import lr_factor
from zerotrain.compile.sections.schedule import emit_schedule, left_out

Settled = Callable[..., Resolved]

PEAK, STEPS = 0.5, 40
OPTIMIZER = f"{{type: adamw, lr: {PEAK}}}"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """DeepSpeed's schedulers warn whenever they are made."""
    logger = logging.getLogger("DeepSpeed")
    level = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(level)


def values(section: Any) -> Any:
    return {key: values(entry) for key, entry in section.items()} if isinstance(section, dict) else section.value


def by_hand(scheduler: dict[str, Any], updates: int) -> list[float]:
    """Returns the rate of every update of a script that uses the compiled section."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=PEAK)
    schedule = getattr(lr_schedules, scheduler["type"])(optimizer, **scheduler["params"])
    rates = []
    for _ in range(updates):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return rates


def ours(resolved: Resolved, update: int) -> float:
    """Returns the rate of an update in a run of zerotrain's; a warmup begins at 0."""
    return PEAK * lr_factor(resolved.spec.schedule, update, total_steps=STEPS) if update > 0 else 0.0


def settle(settled: Settled, schedule: str) -> tuple[Resolved, dict[str, Any]]:
    resolved = settled(optimizer=OPTIMIZER, schedule=schedule, horizon=f"{STEPS} steps")
    return resolved, values(emit_schedule(resolved))


@pytest.mark.parametrize(
    ("schedule", "kind", "params"),
    [
        (
            "{type: constant, warmup: 8 steps}",
            "WarmupLR",
            {"warmup_min_lr": 0.0, "warmup_max_lr": PEAK, "warmup_num_steps": 8, "warmup_type": "linear"},
        ),
        (
            "{type: linear, warmup: 8 steps, min_lr_ratio: 0.5}",
            "WarmupDecayLR",
            {
                "total_num_steps": STEPS,
                "warmup_min_lr": 0.25,
                "warmup_max_lr": PEAK,
                "warmup_num_steps": 8,
                "warmup_type": "linear",
            },
        ),
        (
            "{type: cosine, min_lr_ratio: 0.5}",
            "WarmupCosineLR",
            {
                "total_num_steps": STEPS,
                "warmup_min_ratio": 0.0,
                "cos_min_ratio": 0.5,
                "warmup_num_steps": 1,
                "warmup_type": "linear",
            },
        ),
        (
            "{type: polynomial}",
            "WarmupDecayLR",
            {
                "total_num_steps": STEPS,
                "warmup_min_lr": 0.0,
                "warmup_max_lr": PEAK,
                "warmup_num_steps": 1,
                "warmup_type": "linear",
            },
        ),
        (
            "{type: one_cycle, pct_start: 0.25, div_factor: 5.0}",
            "OneCycle",
            {
                "cycle_min_lr": 0.1,
                "cycle_max_lr": PEAK,
                "cycle_first_step_size": 10,
                "cycle_second_step_size": 30,
                "cycle_momentum": False,
            },
        ),
        (
            "{type: lr_range_test, start_lr_ratio: 0.25}",
            "LRRangeTest",
            {
                "lr_range_test_min_lr": 0.125,
                "lr_range_test_step_size": STEPS - 1,
                "lr_range_test_step_rate": 3.0,
                "lr_range_test_staircase": False,
            },
        ),
    ],
)
def test_every_schedule_has_deepspeed_s_nearest(
    settled: Settled, schedule: str, kind: str, params: dict[str, Any]
) -> None:
    assert settle(settled, schedule)[1] == {"scheduler": {"type": kind, "params": params}}


@pytest.mark.parametrize("schedule", ["{type: constant}", "{type: constant, warmup: 1 steps}"])
def test_a_constant_rate_needs_no_scheduler(settled: Settled, schedule: str) -> None:
    assert settle(settled, schedule)[1] == {}


@pytest.mark.parametrize(
    ("kind", "lengths", "key"),
    [
        ("cosine", {"horizon": "2 epochs"}, "horizon"),
        ("linear", {"horizon": "2 epochs"}, "horizon"),
        ("cosine", {"warmup": "2 epochs", "horizon": "100 steps"}, "schedule.warmup"),
        ("constant", {"warmup": "2 epochs", "horizon": "2 epochs"}, "schedule.warmup"),
    ],
)
def test_steps_that_are_not_counted_yet_leave_the_scheduler_out_and_that_is_said(
    settled: Settled, kind: str, lengths: dict[str, str], key: str
) -> None:
    warmup = lengths.get("warmup", "3 steps")
    resolved = settled(schedule=f"{{type: {kind}, warmup: {warmup}}}", horizon=lengths["horizon"])
    finding = left_out(resolved)

    assert emit_schedule(resolved) == {}
    assert finding is not None
    assert (finding.code, finding.place.key) == ("ZT109", key)


def test_a_constant_rate_needs_no_number_of_steps(settled: Settled) -> None:
    resolved = settled(schedule="{type: constant, warmup: 5 steps}", horizon="2 epochs")

    assert left_out(resolved) is None
    assert values(emit_schedule(resolved))["scheduler"]["params"]["warmup_num_steps"] == 5


def test_a_warmup_in_tokens_is_in_steps(settled: Settled) -> None:
    emitted = values(emit_schedule(settled(schedule="{type: cosine, warmup: 1K tokens}")))

    assert emitted["scheduler"]["params"]["warmup_num_steps"] == 4


def test_muon_s_two_rates_are_said_for_each_of_its_groups(settled: Settled) -> None:
    emitted = values(
        emit_schedule(
            settled(
                optimizer="{type: muon, lr: 0.02, adam_lr: 1.0e-3}",
                schedule="{type: linear, warmup: 5 steps, min_lr_ratio: 0.5}",
            )
        )
    )

    assert emitted["scheduler"]["params"]["warmup_min_lr"] == [0.01, 0.0005]
    assert emitted["scheduler"]["params"]["warmup_max_lr"] == [0.02, 0.001]


@pytest.mark.parametrize("schedule", ["{type: constant, warmup: 8 steps}", "{type: linear, warmup: 8 steps}"])
def test_by_hand_a_warmup_and_a_linear_decay_are_ours_two_updates_late(settled: Settled, schedule: str) -> None:
    resolved, emitted = settle(settled, schedule)
    rates = by_hand(emitted["scheduler"], STEPS)

    assert rates == pytest.approx([ours(resolved, update - 2) for update in range(1, STEPS + 1)])


def test_by_hand_a_cosine_is_two_updates_late_in_its_warmup_and_one_in_its_decay(settled: Settled) -> None:
    resolved, emitted = settle(settled, "{type: cosine, warmup: 8 steps, min_lr_ratio: 0.1}")
    rates = by_hand(emitted["scheduler"], STEPS)

    assert rates[:9] == pytest.approx([ours(resolved, update - 2) for update in range(1, 10)])
    assert rates[9:] == pytest.approx([ours(resolved, update - 1) for update in range(10, STEPS + 1)])
    assert max(rates) < PEAK


@pytest.mark.parametrize("schedule", ["{type: linear, min_lr_ratio: 0.2}", "{type: cosine, min_lr_ratio: 0.2}"])
def test_by_hand_a_decay_goes_down_to_the_floor_and_stays(settled: Settled, schedule: str) -> None:
    resolved, emitted = settle(settled, schedule)
    rates = by_hand(emitted["scheduler"], STEPS + 10)

    assert rates[-1] == pytest.approx(0.2 * PEAK)
    assert ours(resolved, STEPS) == pytest.approx(0.2 * PEAK)
    assert min(rates[4:]) == pytest.approx(0.2 * PEAK)


def test_by_hand_a_cycle_rises_to_the_peak_and_ends_where_it_began(settled: Settled) -> None:
    _, emitted = settle(settled, "{type: one_cycle, pct_start: 0.25, div_factor: 5.0}")
    rates = by_hand(emitted["scheduler"], STEPS + 3)

    assert (rates[0], max(rates), rates[-1]) == pytest.approx((0.1, PEAK, 0.1))


def test_by_hand_a_linear_range_test_is_ours(settled: Settled) -> None:
    resolved, emitted = settle(settled, "{type: lr_range_test, start_lr_ratio: 0.1, growth: linear}")
    rates = by_hand(emitted["scheduler"], STEPS)

    assert rates == pytest.approx([ours(resolved, update) for update in range(1, STEPS + 1)])


@pytest.mark.parametrize("schedule", ["{type: wsd, decay: 5 steps}", "{type: polynomial, power: 2.0}"])
def test_a_curve_that_deepspeed_does_not_have_is_left_out_and_that_is_said(settled: Settled, schedule: str) -> None:
    resolved, emitted = settle(settled, schedule)
    finding = left_out(resolved)

    assert emitted == {}
    assert finding is not None
    assert (finding.code, finding.place.key) == ("ZT155", "schedule.type")
