"""A run goes on with the same losses when other ranks share it, or the same ones in another way."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from zerotrain.launch.revision import lay_out_anew

LONG = {"horizon": "6 steps", "checkpoint.save_every": "3 steps", "evaluation.max_samples": 2}

LAYOUTS = {
    "1 rank": (1, {}),
    "stage 0": (2, {"zero.stage": 0}),
    "stage 1": (2, {"zero.stage": 1}),
    "stage 2": (2, {"zero.stage": 2}),
    "stage 3": (2, {"zero.stage": 3}),
    "stage 1 on 4": (4, {"zero.stage": 1}),
    "stage 2 on 4": (4, {"zero.stage": 2}),
    "stage 3 on 4": (4, {"zero.stage": 3}),
    "tp": (2, {"parallel.tp": 2}),
    "tp at stage 1 on 4": (4, {"parallel.tp": 2, "zero.stage": 1}),
    "tp at stage 3 on 4": (4, {"parallel.tp": 2, "zero.stage": 3}),
    "sp": (2, {"parallel.sp": 2, "zero.stage": 3}),
    "pp": (2, {"parallel.pp": 2}),
    "tp and pp": (4, {"parallel.tp": 2, "parallel.pp": 2}),
}

PATHS = [(before, after) for before in LAYOUTS for after in LAYOUTS if before != after]
USUAL = {("stage 2", "1 rank"), ("1 rank", "stage 3"), ("stage 3 on 4", "stage 1"), ("tp at stage 3 on 4", "stage 2")}


@pytest.mark.parametrize(
    ("before", "after"),
    [pytest.param(*path, marks=[] if path in USUAL else [pytest.mark.slow]) for path in PATHS],
)
def test_the_losses_are_those_of_the_uninterrupted_run(train, ranks, before, after):
    assert_goes_on_elsewhere(train, ranks, LAYOUTS[before], LAYOUTS[after], {"precision": "fp32"}, 2e-6)


def assert_goes_on_elsewhere(train, ranks, before, after, changes, tolerance):
    size, layout = before
    result = train({**LONG, **changes, **layout}, size)
    whole = curve_of(result, 1)
    shutil.rmtree(result.run.checkpoints / "step-6")
    size, layout = after
    plain = {"zero.stage": 0, "parallel.tp": 1, "parallel.pp": 1, "parallel.sp": 1}

    changed = lay_out_anew(result.run, [f"{key}={value}" for key, value in (plain | layout).items()], size)
    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], size)

    assert all(change.meaning == "free" for change in changed)
    assert "continuing from `step-3`, which" in again.output
    for row, (loss, norm, lr, samples) in zip(curve_of(again, 2), whole[3:], strict=True):
        assert row[0] == pytest.approx(loss, rel=tolerance)
        assert row[1] == pytest.approx(norm, rel=10 * tolerance)
        assert row[2:] == (lr, samples)
    before_, after_ = (row["metrics"] for row in again.rows("eval"))
    assert after_ == pytest.approx(before_, rel=tolerance)
    return again


def curve_of(result: Any, attempt: int) -> list[tuple[float, ...]]:
    rows = [row for row in result.rows("train") if row["attempt"] == attempt]
    return [(row["loss"], row["grad_norm"], row["lr"], row["samples"]) for row in rows]


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": {"type": "lion", "lr": 1.0e-3}, "zero.offload_optimizer": {"device": "cpu"}},
        {"optimizer": {"type": "sgd", "lr": 1.0e-1, "momentum": 0.9}},
        {"optimizer": {"type": "adagrad", "lr": 1.0e-2}},
        {"optimizer": {"type": "nadam", "lr": 1.0e-2}},
        {"optimizer.groups": [{"match": "norm", "lr": 1.0e-3}]},
        {"ema": {"decay": 0.9, "evaluate": True}},
        {"model.adapter": {"type": "lora", "rank": 4}},
        {"zero.offload_optimizer": {"device": "cpu"}},
    ],
    ids=["lion", "sgd", "adagrad", "nadam", "groups", "average", "lora", "states on the host"],
)
def test_whatever_the_optimizer_keeps_is_given_out_too(train, ranks, changes):
    before, after = (2, {"zero.stage": 2}), (1, {"zero.stage": 3})
    assert_goes_on_elsewhere(train, ranks, before, after, {"precision": "fp32", **changes}, 2e-6)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 2), (2, 3), (3, 1)])
def test_in_16_bits_the_master_weights_are_given_out(train, ranks, before, after):
    """The losses differ by what 16 bits round; a lost state would show a hundred times as large."""
    layouts = (2, {"zero.stage": before}), (1, {"zero.stage": after})
    assert_goes_on_elsewhere(train, ranks, *layouts, {"precision": "bf16"}, 2e-3)


def test_what_does_not_lie_beside_the_weights_is_refused_with_the_ranks_that_can(train, ranks):
    result = train({**LONG, "optimizer": {"type": "adafactor", "lr": 1.0e-2}}, 2)
    shutil.rmtree(result.run.checkpoints / "step-6")

    lay_out_anew(result.run, [], 1)
    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 1, expect=1)

    assert "error[ZT719] unshareable-checkpoint" in again.output
    assert "continue with `--world-size 2 zero.stage=0`" in again.output
