"""The average of the weights is the one computed by hand, however the weights are divided, and across a resume."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

AVERAGED = {
    "horizon": "4 steps",
    "checkpoint": {"save_every": "1 steps", "keep_last": 9},
    "ema": {"decay": 0.3, "warmup": True},
    "evaluation": {},
}
"""The warmup holds for the first two updates; then 0.3 is less."""

DECAYS = (2 / 11, 3 / 12, 0.3, 0.3)


def checkpoints(result: Any) -> list[Any]:
    from zerotrain.runs.catalogue import catalogue

    return list(reversed(catalogue(result.run)[0]))


def averaged_by_hand(result: Any) -> dict[str, Any]:
    """Averages the weights of all checkpoints, in fp64."""
    import torch

    from zerotrain.checkpoint.weights import whole_weights
    from zerotrain.modeling.load import load_model
    from zerotrain.runs.record import read_record
    from zerotrain.spec.run import RunSpec

    spec = RunSpec.model_validate(read_record(result.run).resolved)
    dtype = {"bf16": torch.bfloat16}.get(spec.precision.dtype, torch.float32)
    initial = load_model(spec.model, {"zero_optimization": {"stage": 0}}, spec.seed).state_dict()
    average = {name: weight.to(dtype).double() for name, weight in initial.items()}
    for checkpoint, decay in zip(checkpoints(result), DECAYS, strict=True):
        weights = whole_weights(checkpoint)
        average = {name: decay * old + (1 - decay) * weights[name].double() for name, old in average.items()}
    return average


def largest_difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    assert one.keys() == other.keys()
    return max((one[name].double() - other[name].double()).abs().max().item() for name in one)


def average_of(result: Any, step: int = -1) -> dict[str, Any]:
    from zerotrain.checkpoint.weights import averaged_weights

    return averaged_weights(checkpoints(result)[step])


@pytest.fixture(scope="module")
def reference(ranks: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return average_of(ranks.train(tmp_path_factory.mktemp("reference"), AVERAGED, 1))


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("stage", "precision", "world", "offload"),
    [
        (0, "fp32", 2, None),
        (0, "bf16", 1, None),
        (1, "fp32", 2, None),
        (1, "bf16", 2, None),
        (2, "fp32", 1, None),
        (2, "bf16", 2, {"device": "cpu"}),
        (3, "fp32", 2, None),
        (3, "bf16", 2, None),
    ],
)
def test_it_is_the_one_computed_by_hand_and_goes_on_after_a_resume(
    train, ranks, reference, stage, precision, world, offload
):
    changes = {**AVERAGED, "zero": {"stage": stage, "offload_optimizer": offload}, "precision": precision}
    result = train(changes, world)
    whole = average_of(result)
    # At stage 0 a checkpoint's own weights are rounded to bf16, between 1 and 2 by up to 2**-8; the average is of those
    # that are not.
    rounding = 2**-8 if (stage, precision) == (0, "bf16") else 1e-6

    assert largest_difference(whole, averaged_by_hand(result)) < rounding
    assert precision == "bf16" or largest_difference(whole, reference) < 1e-3
    for tag in ("step-4", "step-3"):
        shutil.rmtree(result.run.checkpoints / tag)
    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], world)
    assert largest_difference(average_of(again), whole) == 0


def test_it_is_in_the_manifest_and_exported_unless_the_weights_are_asked_for(train, tmp_path, capsys):
    import torch
    from safetensors.torch import load_file

    from zerotrain.checkpoint.weights import whole_weights
    from zerotrain.cli.main import main

    result = train({**AVERAGED, "zero.stage": 3, "export": {}}, 2)
    (newest,) = checkpoints(result)[-1:]

    assert {"ema_rank_0.pt", "ema_rank_1.pt"} <= set(newest.manifest.files)
    assert "averaged parameters of `step-4` in fp32" in result.output
    assert json.loads((result.run.export / "zerotrain.json").read_text())["weights"] == "ema"
    name, average, weights = "model.norm.weight", average_of(result), whole_weights(newest)
    assert torch.equal(load_file(result.run.export / "model.safetensors")[name], average[name])
    assert main(["export", str(result.run.root), "-o", str(tmp_path / "x"), "--weights", "model"]) == 0
    assert torch.equal(load_file(tmp_path / "x" / "model.safetensors")[name], weights[name])
    assert not torch.equal(average[name], weights[name])


def test_a_run_without_it_says_so(train, tmp_path, capsys):
    from zerotrain.cli.main import main

    result = train({"horizon": "1 steps"}, 1)

    assert main(["export", str(result.run.root), "-o", str(tmp_path / "x"), "--weights", "ema"]) == 1
    assert "error[ZT739] no-average" in capsys.readouterr().err


@pytest.fixture(scope="module")
def evaluated(ranks: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    changes = {"evaluation.every": "2 steps", "ema": {"decay": 0.9, "warmup": False, "evaluate": True}}
    return lambda **more: ranks.train(tmp_path_factory.mktemp("evaluated"), changes | more, 2)


def metrics(result: Any) -> list[dict[str, float]]:
    return [row["metrics"] for row in result.rows("eval")]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_is_evaluated_beside_the_weights_which_are_then_as_they_were(train, evaluated, stage, precision):
    changes = {"zero.stage": stage, "precision": precision, "evaluation.every": "2 steps"}
    plain = train(changes, 2)

    result = evaluated(**changes)
    same = evaluated(**changes, ema={"decay": 0.0, "warmup": False, "evaluate": True})

    assert result.losses == same.losses == plain.losses
    for before, found, equal in zip(metrics(plain), metrics(result), metrics(same), strict=True):
        assert {"loss": found["loss"], "perplexity": found["perplexity"]} == before
        assert found["ema_loss"] > found["loss"]
        assert equal["ema_loss"] == equal["loss"]


def test_its_loss_is_the_same_at_every_stage(evaluated):
    found = [metrics(evaluated(**{"zero.stage": stage}))[-1]["ema_loss"] for stage in (0, 1, 2, 3)]

    assert found == pytest.approx([found[0]] * 4, rel=1e-5)


def test_training_stops_by_the_loss_of_the_average(evaluated):
    stopping = {"metric": "ema_loss", "mode": "max", "patience": 1}

    result = evaluated(**{"evaluation.early_stopping": stopping, "horizon": "8 steps"})

    assert [row["step"] for row in result.rows("eval")] == [2, 4]
