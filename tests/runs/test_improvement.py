"""Which evaluation is the best, and when training no longer makes it better."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from zerotrain.errors import SpecError
from zerotrain.runs.catalogue import Checkpoint, Manifest, tag_of
from zerotrain.runs.history import evaluations
from zerotrain.runs.improvement import best_checkpoint, best_step, reason_to_stop, refuse_unknown_metric
from zerotrain.runs.layout import RunDirectory
from zerotrain.spec.run import EarlyStoppingSpec, KeepBestSpec

LESS = KeepBestSpec(metric="loss", mode="min")
MORE = KeepBestSpec(metric="loss", mode="max")


def by_step(*values: float | None) -> dict[int, dict[str, float | None]]:
    return {step: {"loss": value} for step, value in enumerate(values, start=1)}


@pytest.mark.parametrize(
    ("aim", "values", "step"),
    [
        (LESS, (3.0, 2.0, 2.5), 2),
        (MORE, (3.0, 2.0, 2.5), 1),
        (LESS, (2.0, 2.0), 1),
        (LESS, (None, math.nan, math.inf, -math.inf, 9.0), 5),
        (MORE, (math.inf, 1.0), 2),
        (LESS, (None, math.nan), None),
        (LESS, (), None),
    ],
)
def test_the_best_step_is_the_first_with_the_best_finite_value(aim, values, step) -> None:
    assert best_step(aim, by_step(*values)) == step


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(Path(tag_of(step)), Manifest(tag_of(step), step, 8, 256, 1.5, 2, 2, "bf16", "hash", {}))


def test_the_best_checkpoint_is_the_best_of_those_there_are() -> None:
    there = [checkpoint(3), checkpoint(2), checkpoint(7)]

    assert best_checkpoint(LESS, by_step(1.0, 3.0, 2.0), there) == checkpoint(3)
    assert best_checkpoint(LESS, by_step(1.0), there) is None


@pytest.mark.parametrize(
    ("values", "min_delta", "stops"),
    [
        ((3.0, 3.1), 0.0, False),
        ((3.0, 3.1, 3.2), 0.0, True),
        ((3.0, 3.1, 2.9, 3.0), 0.0, False),
        ((3.0, 3.0, 3.0), 0.0, True),
        ((3.0, 2.95, 2.92), 0.1, True),
        ((3.0, 2.95, 2.85, 2.8), 0.1, False),
        ((3.0, math.nan, None), 0.0, True),
        ((math.nan, math.nan), 0.0, True),
        ((math.nan, 3.0, 3.1), 0.0, False),
    ],
)
def test_training_stops_after_patience_evaluations_without_improvement(values, min_delta, stops) -> None:
    stopping = EarlyStoppingSpec(metric="loss", mode="min", patience=2, min_delta=min_delta)

    assert (reason_to_stop(stopping, by_step(*values)) is not None) == stops


def test_the_reason_names_the_best_step() -> None:
    stopping = EarlyStoppingSpec(metric="loss", mode="min", patience=1)

    reason = "`loss` has not improved for one evaluation: it was best at step 1 with 3"
    assert reason_to_stop(stopping, by_step(3.0, 3.1)) == reason
    assert reason_to_stop(stopping, by_step(None)) == (
        "`loss` has not improved for one evaluation: it never had a finite value"
    )


@pytest.mark.parametrize(
    ("metric", "help"), [("accuracy", None), ("acuracy", "did you mean `accuracy`?"), ("x", "use `loss` or `accuracy`")]
)
def test_a_metric_must_be_reported(metric: str, help: str | None) -> None:
    if help is None:
        return refuse_unknown_metric("checkpoint.keep_best", metric, {"loss": 1.0, "accuracy": 0.5})
    with pytest.raises(SpecError) as refused:
        refuse_unknown_metric("checkpoint.keep_best", metric, {"loss": 1.0, "accuracy": 0.5})
    (finding,) = refused.value.findings
    assert finding.message == f"the evaluation reports no `{metric}`, only `loss` and `accuracy`"
    assert (finding.code, finding.help, finding.place.key) == ("ZT732", help, "checkpoint.keep_best.metric")


def test_evaluations_are_read_up_to_a_step_the_later_of_two_counts(run: RunDirectory) -> None:
    lines = [(0, 9.0), (2, 5.0), (4, 4.0), (6, 3.0), (4, None)]
    written = [{"kind": "eval", "step": step, "metrics": {"loss": loss}} for step, loss in lines]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in written))

    assert evaluations(run) == {2: {"loss": 5.0}, 4: {"loss": None}, 6: {"loss": 3.0}}
    assert list(evaluations(run, 4)) == [2, 4]
