"""Training stops when it no longer helps, and the best checkpoint stays, across crashes too."""

from __future__ import annotations

import json
import shutil
from typing import Any

from zerotrain.cli.main import main
from zerotrain.runs.attempts import attempts
from zerotrain.runs.catalogue import catalogue

RISING = {
    "horizon": "12 steps",
    "evaluation.every": "1 steps",
    "evaluation.early_stopping": {"metric": "loss", "mode": "max", "patience": 3},
    "checkpoint.save_every": "2 steps",
}
"""The loss falls; asked for one that rises, a run has its best evaluation at the first step."""


def tags(result: Any) -> list[str]:
    return [checkpoint.manifest.tag for checkpoint in catalogue(result.run)[0]]


def evaluated(result: Any) -> list[int]:
    return [row["step"] for row in result.rows("eval")]


def resumed(ranks: Any, result: Any, world: int, **options: Any) -> Any:
    return ranks.start(result.run.root.parent.parent, [str(result.run.root)], world, **options)


def test_training_stops_saves_and_exports_after_evaluations_without_improvement(train, capsys):
    result = train({**RISING, "zero.stage": 2, "export": {}}, 2)

    reason = f"`loss` has not improved for 3 evaluations: it was best at step 1 with {first_loss(result):.4g}"
    (attempt,) = attempts(result.run)
    assert evaluated(result) == [1, 2, 3, 4]
    assert (attempt.outcome, attempt.last_step, attempt.reason) == ("finished", 4, reason)
    assert tags(result) == ["step-4", "step-2"]
    assert json.loads((result.run.export / "zerotrain.json").read_text())["checkpoint"] == "step-4"
    assert f"stopped early, after 4 of 12 steps: {reason}" in result.output
    assert main(["status", str(result.run.root)]) == 0
    shown = capsys.readouterr().out
    assert "tiny: finished, 4/12 steps" in shown
    assert reason in shown


def first_loss(result: Any) -> float:
    return result.rows("eval")[0]["metrics"]["loss"]


def test_a_continued_run_stops_at_the_same_step_and_is_finished_then(train, ranks):
    """It forgets the evaluations of the steps it has lost, and makes them again."""
    result = train({**RISING, "checkpoint.save_every": "1 steps", "checkpoint.keep_last": 9}, 1)
    for tag in ("step-4", "step-3"):
        shutil.rmtree(result.run.checkpoints / tag)

    again = resumed(ranks, result, 1)
    refused = resumed(ranks, result, 1, expect=1)

    first, second, _ = attempts(again.run)
    assert (second.outcome, second.last_step, second.reason) == ("finished", 4, first.reason)
    assert evaluated(again) == [1, 2, 3, 4, 3, 4]
    assert tags(again) == ["step-4", "step-3", "step-2", "step-1"]
    assert "error[ZT709] finished-run" in refused.output
    assert "the run stopped early, after 4 of 12 steps: `loss` has not improved for 3 evaluations" in refused.output


def test_a_run_that_improves_goes_on_to_its_end(train):
    result = train({**RISING, "horizon": "5 steps", "evaluation.early_stopping": {"patience": 1}}, 1)

    assert evaluated(result) == [1, 2, 3, 4, 5]
    assert attempts(result.run)[0].reason is None


def test_the_best_checkpoint_is_saved_though_none_is_due_and_stays(train, capsys, tmp_path):
    changes = {
        "horizon": "6 steps",
        "evaluation.every": "1 steps",
        "checkpoint": {"save_every": "2 steps", "keep_last": 1, "keep_best": {"metric": "loss", "mode": "max"}},
        "export": {"checkpoint": "best"},
    }

    result = train(changes, 2)

    assert tags(result) == ["step-6", "step-1"]
    assert json.loads((result.run.export / "zerotrain.json").read_text())["checkpoint"] == "step-1"
    assert main(["status", str(result.run.root)]) == 0
    assert "checkpoints: step-6, step-1 (best)" in capsys.readouterr().out
    assert main(["export", str(result.run.root), "-o", str(tmp_path / "out"), "--checkpoint", "best"]) == 0
    assert "of `step-1`" in capsys.readouterr().out


def test_the_best_checkpoint_is_known_after_a_resume(train, ranks):
    changes = {
        "horizon": "4 steps",
        "evaluation.every": "1 steps",
        "checkpoint": {"save_every": "1 steps", "keep_last": 2, "keep_best": {"metric": "loss", "mode": "max"}},
    }
    result = train(changes, 1)
    assert tags(result) == ["step-4", "step-3", "step-1"]
    shutil.rmtree(result.run.checkpoints / "step-4")

    again = resumed(ranks, result, 1)

    assert tags(again) == ["step-4", "step-3", "step-1"]


def test_the_last_of_ever_better_evaluations_is_the_best_and_the_earlier_ones_go(train):
    changes = {"horizon": "5 steps", "evaluation.every": "1 steps", "checkpoint": {"keep_last": 1, "keep_best": {}}}

    assert tags(train(changes, 1)) == ["step-5"]


def test_a_metric_that_is_not_reported_is_named_with_those_that_are(train):
    changes = {"evaluation.every": "1 steps", "evaluation.early_stopping": {"metric": "perplexty"}}

    result = train(changes, 2, expect=1)

    assert "error[ZT732] unknown-metric" in result.output
    assert "the evaluation reports no `perplexty`, only `loss` and `perplexity`" in result.output
    assert "did you mean `perplexity`?" in result.output


def test_a_run_without_a_best_checkpoint_says_so(train, capsys, tmp_path):
    result = train({}, 1)

    assert main(["export", str(result.run.root), "-o", str(tmp_path / "out"), "--checkpoint", "best"]) == 1
    shown = capsys.readouterr().err
    assert "error[ZT733] no-best-checkpoint" in shown
    assert "it was started without `keep_best`" in shown
