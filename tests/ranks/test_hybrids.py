"""Layers divided over tensor-parallel ranks inside the stages of a pipeline: the same training, the same weights."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from zerotrain.checkpoint.export import export_run

slow = pytest.mark.slow

BOTH = {"parallel.tp": 2, "parallel.pp": 2}
TIED = {"model.config.tie_word_embeddings": True}
MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "tied": TIED,
    "qwen2": {"model.architecture": "qwen2"},
    "qwen3": {"model.architecture": "qwen3", "model.config.head_dim": 8, **TIED},
}
LEAN = {("tied", 0), ("qwen3", 1)}
CASES = [
    pytest.param(model, stage, marks=[] if (model, stage) in LEAN else [slow]) for model in MODELS for stage in (0, 1)
]


@pytest.mark.parametrize(("model", "stage"), CASES)
def test_losses_norms_and_weights_are_those_of_one_plain_rank(train, model, stage):
    changes = {**MODELS[model], "precision": "fp32", "optimizer.clip_norm": 0.5}
    plain = train({**changes, "batch.micro_batch_size": 8}, 1)

    divided = train({**changes, **BOTH, "zero.stage": stage}, 4)

    assert divided.losses == pytest.approx(plain.losses, rel=1e-5)
    assert divided.grad_norms == pytest.approx(plain.grad_norms, rel=1e-4)
    (measured,), (expected,) = (result.rows("eval")[-1:] for result in (divided, plain))
    assert measured["metrics"] == pytest.approx(expected["metrics"], rel=1e-5)
    assert largest_difference(exported(divided), exported(plain)) < 1e-3


@slow
def test_two_pipelines_of_two_stages_of_two_ranks(train):
    plain = train({"precision": "fp32"}, 1)

    divided = train({"precision": "fp32", **BOTH, "zero.stage": 1}, 8)

    assert divided.losses == pytest.approx(plain.losses, rel=1e-5)
    assert divided.grad_norms == pytest.approx(plain.grad_norms, rel=1e-4)


@pytest.mark.parametrize(("stage", "precision"), [pytest.param(0, "fp32", marks=slow), (1, "bf16")])
def test_every_loss_after_a_resume_is_bitwise_that_of_the_uninterrupted_run(train, ranks, stage, precision):
    long = {"horizon": "6 steps", "checkpoint.save_every": "3 steps", "zero.stage": stage, "precision": precision}
    result = train({**long, **BOTH}, 4)
    first = [(row["step"], row["loss"], row["grad_norm"]) for row in result.rows("train")]
    weights = exported(result).state_dict()
    shutil.rmtree(result.run.checkpoints / "step-6")

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 4)

    assert [(r["step"], r["loss"], r["grad_norm"]) for r in again.rows("train") if r["attempt"] == 2] == first[3:]
    assert all(torch.equal(weight, weights[name]) for name, weight in exported(again).state_dict().items())


def exported(result: Any) -> Any:
    """Returns what plain transformers makes of the export."""
    export_run(result.run, result.run.export)
    return AutoModelForCausalLM.from_pretrained(result.run.export).eval()


def largest_difference(model: Any, other: Any) -> float:
    tokens = torch.arange(64).reshape(2, 32)
    with torch.no_grad():
        return (model(tokens).logits - other(tokens).logits).abs().max().item()
