"""Activation checkpointing is in force when it is asked for, there where it is asked for, and only then."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForImageClassification
from transformers.modeling_layers import GradientCheckpointingLayer

from zerotrain.arch.families import FAMILIES
from zerotrain.arch.recompute import RECOMPUTED_PARTS
from zerotrain.errors import EngineError
from zerotrain.modeling.recompute import enable_recompute
from zerotrain.spec.parallelism import ActivationCheckpointingSpec

FORWARD_PASSES = """
import json, sys
import torch
from torch.overrides import TorchFunctionMode
from transformers import AutoConfig, AutoModelForCausalLM
from zerotrain.modeling.recompute import enable_recompute
from zerotrain.spec.parallelism import ActivationCheckpointingSpec

class Moves(TorchFunctionMode):
    count = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.Tensor.cpu
        return function(*args, **(kwargs or {}))

sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
tokens = torch.arange(8).unsqueeze(0)
for chosen in CHOICES:
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **sizes, vocab_size=99, use_cache=False))
    enable_recompute(model.train(), ActivationCheckpointingSpec(**chosen), {"train_batch_size": 1})
    passes = {"attention": [0, 0, 0], "mlp": [0, 0, 0]}

    def count(part, index):
        passes[part][index] += 1

    for index, layer in enumerate(model.model.layers):
        layer.self_attn.q_proj.register_forward_hook(lambda *_, i=index: count("attention", i))
        layer.mlp.gate_proj.register_forward_hook(lambda *_, i=index: count("mlp", i))
    with Moves() as moves:
        model(input_ids=tokens, labels=tokens).loss.backward()
    gradients = [parameter.grad.double().sum().item() for parameter in model.parameters()]
    print("PASSES", json.dumps([passes, moves.count, sum(gradients)]))
"""

CHOICES = [
    ({}, [1, 1, 1], [1, 1, 1]),
    ({"granularity": "full"}, [2, 2, 2], [2, 2, 2]),
    ({"granularity": "full", "every": 2}, [2, 1, 2], [2, 1, 2]),
    ({"granularity": "full", "implementation": "deepspeed"}, [2, 2, 2], [2, 2, 2]),
    ({"granularity": "full", "implementation": "deepspeed", "every": 3}, [2, 1, 1], [2, 1, 1]),
    ({"granularity": "selective"}, [2, 2, 2], [1, 1, 1]),
    ({"granularity": "selective", "parts": ["mlp"]}, [1, 1, 1], [2, 2, 2]),
    ({"granularity": "selective", "parts": ["attention", "mlp"], "every": 2}, [2, 1, 2], [2, 1, 2]),
    ({"granularity": "full", "cpu_checkpointing": True}, [2, 2, 2], [2, 2, 2]),
]


def test_what_is_asked_for_is_computed_again_in_the_backward_pass_and_gradients_stay(ranks, tmp_path):
    script = FORWARD_PASSES.replace("CHOICES", repr([chosen for chosen, *_ in CHOICES]))

    output = ranks.script(tmp_path, script)

    counted = [json.loads(line.removeprefix("PASSES ")) for line in output.splitlines() if line.startswith("PASSES")]
    assert [(passes["attention"], passes["mlp"]) for passes, *_ in counted] == [
        (attention, mlp) for _, attention, mlp in CHOICES
    ]
    assert [gradients for *_, gradients in counted] == pytest.approx([counted[0][2]] * len(CHOICES), rel=1e-6)
    moved = [count for _, count, _ in counted]
    assert moved[-1] >= 3, "the input of every layer goes to host memory"
    assert moved[:-1] == [0] * (len(CHOICES) - 1)


@pytest.mark.parametrize("architecture", FAMILIES)
def test_the_parts_of_a_layer_are_where_the_table_says(architecture):
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model(architecture))
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]

    assert bool(layers) == bool(RECOMPUTED_PARTS[architecture])
    for name in RECOMPUTED_PARTS[architecture].values():
        assert all(name in dict(layer.named_children()) for layer in layers)


@pytest.mark.parametrize(
    ("chosen", "what"),
    [({}, "layer"), ({"implementation": "deepspeed"}, "layer"), ({"granularity": "selective"}, "layer")],
)
def test_a_model_in_which_nothing_can_be_recomputed_is_refused(chosen, what):
    sizes = {"embedding_size": 8, "hidden_sizes": [8], "depths": [1]}
    model = AutoModelForImageClassification.from_config(AutoConfig.for_model("resnet", **sizes))

    with pytest.raises(EngineError, match=f"ZT803 engine-differs: `ResNetForImageClassification` has no {what}"):
        enable_recompute(
            model, ActivationCheckpointingSpec(**{"granularity": "full", **chosen}), {"train_batch_size": 1}
        )


def test_a_model_whose_parts_are_not_known_is_refused():
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    model = AutoModel.from_config(AutoConfig.for_model("gemma", **sizes, head_dim=8, vocab_size=99))

    with pytest.raises(EngineError, match="ZT803 engine-differs: `GemmaModel` has no attention that can be"):
        enable_recompute(model, ActivationCheckpointingSpec(granularity="selective"), {"train_batch_size": 1})
