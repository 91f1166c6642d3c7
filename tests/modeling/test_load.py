"""Models from a config, and from weights in a folder."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from zerotrain.modeling.load import load_model
from zerotrain.spec.model import ModelSpec

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 99}


@pytest.fixture
def folder(tmp_path):
    """Weights as transformers saves them, in bf16."""
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SIZES), dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "weights")
    return tmp_path / "weights"


def test_a_model_from_scratch_is_in_fp32_with_the_attention_that_was_asked_for():
    spec = ModelSpec(architecture="llama", config=SIZES, attention="eager")

    model = load_model(spec, {"zero_optimization": {"stage": 0}}, seed=1)

    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config._attn_implementation == "eager"


def test_weights_in_a_folder_are_loaded_into_fp32(folder):
    model = load_model(ModelSpec(pretrained=str(folder)), {"zero_optimization": {"stage": 1}}, seed=1)

    saved = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").state_dict()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(torch.equal(tensor, saved[name].float()) for name, tensor in model.state_dict().items())


def test_config_keys_are_laid_over_those_of_the_folder(folder):
    spec = ModelSpec(pretrained=str(folder), config={"attention_dropout": 0.25})

    model = load_model(spec, {"zero_optimization": {"stage": 0}}, seed=1)

    assert model.config.attention_dropout == 0.25


def test_a_model_without_embeddings_for_all_tokens_is_refused(train, folder):
    refused = train({"model": {"pretrained": str(folder)}, "data.tokenizer": {"type": "bytes"}}, 1, expect=1)

    assert "error[ZT611] small-vocabulary" in refused.output
    assert "the model has 99 embeddings for 257 tokens" in refused.output
    assert not refused.run.root.exists()


def test_stages_agree_from_the_same_weights(train, tmp_path):
    torch.manual_seed(3)
    config = AutoConfig.for_model("llama", **{**SIZES, "vocab_size": 260})
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(tmp_path / "weights")
    changes = {"model": {"pretrained": str(tmp_path / "weights")}, "precision": "bf16"}

    losses = [train({**changes, "zero.stage": stage}, 2).losses for stage in (1, 2, 3)]

    assert losses[0][0] == pytest.approx(5.56, abs=0.1), "the log of 260"
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert losses[2] == pytest.approx(losses[0], rel=1e-3)
