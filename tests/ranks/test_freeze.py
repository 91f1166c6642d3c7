"""Parameters that do not move at all."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from zerotrain.checkpoint.export import export_run
from zerotrain.checkpoint.weights import StateDict, whole_weights
from zerotrain.runs.catalogue import catalogue

FROZEN = "model.embed_tokens.weight"
FREEZE = [r"^model\.embed", r"layers\.0\.input_layernorm"]


@pytest.fixture(scope="module")
def partly_frozen(ranks: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    changes = {"precision": "fp32", "zero.stage": 0, "model.freeze": FREEZE}
    return ranks.train(tmp_path_factory.mktemp("frozen"), changes, 1)


def weights(result: Any, step: int = 0) -> StateDict:
    return whole_weights(catalogue(result.run)[0][step])


def weights_before(result: Any) -> StateDict:
    from zerotrain.modeling.load import load_model
    from zerotrain.runs.record import read_record
    from zerotrain.spec.run import RunSpec

    spec = RunSpec.model_validate(read_record(result.run).resolved)
    return load_model(spec.model, {"zero_optimization": {"stage": 0}}, spec.seed).state_dict()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_frozen_weights_do_not_change_by_a_bit(train, partly_frozen, stage, precision, tmp_path):
    import torch
    from safetensors.torch import load_file

    result = train({"precision": precision, "zero.stage": stage, "model.freeze": FREEZE}, 2)
    export_run(result.run, tmp_path / "export")

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    before, after = weights_before(result), weights(result)
    exported = load_file(tmp_path / "export" / "model.safetensors")
    still = {name for name in before if torch.equal(before[name].to(dtype), after[name].to(dtype))}
    assert {FROZEN, "model.layers.0.input_layernorm.weight"} <= still
    assert torch.equal(exported[FROZEN], before[FROZEN].to(dtype))
    assert "lm_head.weight" not in still
    assert set(after) >= set(before)
    assert result.losses == pytest.approx(partly_frozen.losses, rel=1e-5 if precision == "fp32" else 1e-2)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("own", [{"model.freeze": FREEZE}, {"optimizer.groups": [{"match": "lm_head", "lr": 5e-3}]}])
@pytest.mark.parametrize("stage", [1, 3])
def test_a_continued_run_with_frozen_weights_or_groups_is_bitwise_the_same(train, ranks, stage, own):
    changes = {"horizon": "4 steps", "checkpoint.save_every": "2 steps", "precision": "bf16", "zero.stage": stage}
    result = train({**changes, **own}, 2)
    first = [(row["step"], row["loss"], row["grad_norm"]) for row in result.rows("train")]
    shutil.rmtree(result.run.checkpoints / "step-4")

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 2)

    assert [(r["step"], r["loss"], r["grad_norm"]) for r in again.rows("train") if r["attempt"] == 2] == first[2:]


@pytest.mark.parametrize("implementation", ["torch", "deepspeed"])
def test_frozen_embeddings_and_recomputed_activations_go_together(train, partly_frozen, implementation):
    recompute = {"granularity": "full", "implementation": implementation}
    result = train({"precision": "fp32", "model.freeze": FREEZE, "activation_checkpointing": recompute}, 1)

    assert result.losses == pytest.approx(partly_frozen.losses, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "code", "key"),
    [
        ({"model.freeze": ["no_such"]}, "ZT150", "unmatched-pattern"),
        ({"optimizer.groups": [{"match": "no_such", "lr": 1.0}]}, "ZT150", "unmatched-pattern"),
        ({"model.freeze": ["."]}, "ZT151", "nothing-to-train"),
    ],
)
def test_a_pattern_that_cannot_be_meant_ends_the_run_before_its_first_step(train, changes, code, key):
    result = train(changes, 1, expect=1)

    assert f"error[{code}] {key}" in result.output
    assert result.rows("train") == []
