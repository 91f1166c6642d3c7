"""Layers divided over ranks learn what whole layers learn."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from zerotrain.checkpoint.export import export_run
from zerotrain.checkpoint.weights import whole_weights
from zerotrain.runs.catalogue import catalogue

slow = pytest.mark.slow

ARCHITECTURES = {
    "llama": {},
    "tied": {"model.config.tie_word_embeddings": True},
    "biases": {"model.config.attention_bias": True, "model.config.mlp_bias": True},
    "mistral": {"model.architecture": "mistral", "model.config.sliding_window": 16},
    "qwen2": {"model.architecture": "qwen2"},
    "qwen3": {"model.architecture": "qwen3"},
}
CASES = [
    pytest.param(model, stage, ranks, marks=[] if chosen else [slow], id=f"{model}-stage{stage}-{ranks}ranks")
    for model in ARCHITECTURES
    for stage in (0, 1, 2, 3)
    for ranks in (2, 4)
    for chosen in [(model, stage, ranks) in {("llama", 0, 2), ("qwen3", 2, 2), ("tied", 1, 4), ("biases", 3, 4)}]
]


@pytest.mark.parametrize(("model", "stage", "world"), CASES)
def test_losses_norms_and_metrics_are_those_of_one_plain_rank(train, model, stage, world):
    changes = {**ARCHITECTURES[model], "zero.stage": stage}
    plain = train({**ARCHITECTURES[model], "batch.micro_batch_size": 8}, 1)

    divided = train({**changes, "parallel.tp": 2}, world)

    assert divided.losses == pytest.approx(plain.losses, rel=1e-5)
    assert divided.grad_norms == pytest.approx(plain.grad_norms, rel=1e-4)
    (measured,), (expected,) = (result.rows("eval")[-1:] for result in (divided, plain))
    assert measured["metrics"] == pytest.approx(expected["metrics"], rel=1e-4)


def test_each_rank_has_its_half_of_the_divided_layers(train):
    result = train({"parallel.tp": 2, "zero.stage": 1}, 2)
    directory = catalogue(result.run)[0][0].path
    parts = [torch.load(directory / f"mp_rank_0{i}_model_states.pt", weights_only=False)["module"] for i in (0, 1)]

    attention, mlp = "model.layers.1.self_attn.", "model.layers.1.mlp."
    for part in parts:
        assert part[f"{attention}q_proj.weight"].shape == (16, 32)
        assert part[f"{attention}k_proj.weight"].shape == (8, 32)
        assert part[f"{attention}o_proj.weight"].shape == (32, 16)
        assert part[f"{mlp}down_proj.weight"].shape == (32, 32)
    assert not torch.equal(*(part[f"{attention}q_proj.weight"] for part in parts))
    assert torch.equal(*(part["model.norm.weight"] for part in parts))


@pytest.mark.parametrize("stage", [pytest.param(0, marks=slow), 1, pytest.param(2, marks=slow), 3])
@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=slow)])
def test_a_resumed_run_is_the_same_bit_for_bit(train, ranks, stage, precision):
    changes = {"horizon": "6 steps", "checkpoint.save_every": "3 steps", "precision": precision}
    result = train({**changes, "zero.stage": stage, "parallel.tp": 2}, 4)
    first = result.losses
    shutil.rmtree(result.run.checkpoints / "step-6")

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 4)

    assert [row["loss"] for row in again.rows("train") if row["attempt"] == 2] == first[3:]


@pytest.mark.parametrize("stage", [0, pytest.param(1, marks=slow), pytest.param(2, marks=slow), 3])
def test_an_export_is_the_model_that_was_trained(train, stage, tmp_path):
    """Its loss on the last batch of the data is what the run has measured, on whole layers in plain transformers."""
    result = train({"parallel.tp": 2, "zero.stage": stage}, 4)
    plain = train({"batch.micro_batch_size": 8}, 1)
    logits = [logits_of(each, tmp_path / str(i)) for i, each in enumerate((result, plain))]

    assert torch.allclose(*logits, atol=2e-3)
    parts = [whole_weights(catalogue(each.run)[0][0]) for each in (result, plain)]
    assert all(torch.allclose(parts[0][name], weight, atol=2e-3) for name, weight in parts[1].items())


def logits_of(result: Any, directory: Any) -> torch.Tensor:
    export_run(result.run, directory, dtype="fp32")
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    with torch.no_grad():
        return model(torch.arange(40).reshape(1, 40)).logits
