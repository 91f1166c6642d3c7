"""Activation checkpointing is in force when it is asked for, and only then."""

from __future__ import annotations

import pytest
from transformers import AutoConfig, AutoModelForImageClassification

from zerotrain.errors import EngineError
from zerotrain.modeling.recompute import enable_recompute
from zerotrain.spec.parallelism import ActivationCheckpointingSpec

FORWARD_PASSES = """
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from zerotrain.modeling.recompute import enable_recompute
from zerotrain.spec.parallelism import ActivationCheckpointingSpec

sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
tokens = torch.arange(8).unsqueeze(0)
for chosen in ({}, {"granularity": "full"}, {"granularity": "full", "implementation": "deepspeed"}):
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **sizes, vocab_size=99, use_cache=False))
    enable_recompute(model.train(), ActivationCheckpointingSpec(**chosen), {"train_batch_size": 1})
    passes = []
    model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: passes.append(1))
    model(input_ids=tokens, labels=tokens).loss.backward()
    print("PASSES", len(passes), all(parameter.grad is not None for parameter in model.parameters()))
"""


def test_a_layer_is_computed_again_in_the_backward_pass(ranks, tmp_path):
    output = ranks.script(tmp_path, FORWARD_PASSES)

    passes = [line for line in output.splitlines() if line.startswith("PASSES")]
    assert passes == ["PASSES 1 True", "PASSES 2 True", "PASSES 2 True"]


@pytest.mark.parametrize("implementation", ["torch", "deepspeed"])
def test_a_model_in_which_nothing_can_be_recomputed_is_refused(implementation):
    sizes = {"embedding_size": 8, "hidden_sizes": [8], "depths": [1]}
    model = AutoModelForImageClassification.from_config(AutoConfig.for_model("resnet", **sizes))
    chosen = ActivationCheckpointingSpec(granularity="full", implementation=implementation)

    with pytest.raises(EngineError, match="ZT803 engine-differs: `ResNetForImageClassification` has no layer"):
        enable_recompute(model, chosen, {"train_batch_size": 1})
