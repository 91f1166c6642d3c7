"""Dense decoders with experts: what is computed from a config is held against the model that is built."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from zerotrain.arch.counterparts import obstacles, published_config
from zerotrain.arch.describe import model_shape, parameter_shapes
from zerotrain.arch.experts import GATED
from zerotrain.arch.flops import forward_backward_flops_per_token
from zerotrain.arch.shape import ExpertShape
from zerotrain.modeling.experts import add_experts
from zerotrain.spec.moe import MoeSpec

SIZES = {"vocab_size": 50, "hidden_size": 24, "intermediate_size": 20, "num_hidden_layers": 4}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2}
CHOICES: list[dict[str, Any]] = [{}, {"every": 2}, {"every": 3, "residual": True, "top_k": 1}]


@pytest.mark.parametrize("chosen", CHOICES, ids=str)
@pytest.mark.parametrize("architecture", GATED)
def test_parameters_are_those_of_the_built_model(architecture: str, chosen: dict[str, Any]) -> None:
    moe = MoeSpec.model_validate({"experts": 4} | chosen)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **SIZES))
    add_experts(model, moe, 1, 0, 1)

    expected = [(name, tuple(parameter.shape)) for name, parameter in model.named_parameters()]
    assert list(parameter_shapes(architecture, SIZES, moe=moe).items()) == expected
    shape = model_shape(architecture, SIZES, moe=moe)
    assert shape.parameters == model.num_parameters()
    idle = sum(weight.numel() for name, weight in model.named_parameters() if _is_idle(name, moe))
    assert shape.active_parameters == model.num_parameters() - idle
    assert shape.experts == ExpertShape(4, moe.top_k, tuple(range(moe.every - 1, 4, moe.every)), 3 * 24 * 20)


def _is_idle(name: str, moe: MoeSpec) -> bool:
    """Tells whether a weight is of an expert that is not among the first ones, which stand for the chosen."""
    _, inside, number = name.partition("deepspeed_experts.")
    return bool(inside) and int(number.split(".")[0]) >= moe.top_k


@pytest.mark.parametrize(("architecture", "chosen"), [("llama", {}), ("qwen3", {"every": 2})])
def test_it_counts_as_the_published_architecture_does(architecture: str, chosen: dict[str, Any]) -> None:
    moe = MoeSpec.model_validate({"experts": 4} | chosen)

    ours = model_shape(architecture, SIZES, moe=moe)
    published = model_shape(*published_config(architecture, SIZES, moe))

    assert (ours.parameters, ours.active_parameters) == (published.parameters, published.active_parameters)
    assert ours.experts == published.experts
    assert ours.layer_parameters == published.layer_parameters
    flops = [forward_backward_flops_per_token(shape, 64) for shape in (ours, published)]
    assert flops[0] == flops[1]


@pytest.mark.parametrize(
    ("architecture", "config", "moe"),
    [
        ("qwen2", {}, {}),
        ("llama", {"attention_bias": True}, {}),
        ("llama", {"mlp_bias": True}, {}),
        ("llama", {"hidden_act": "prelu"}, {}),
        ("mistral", {}, {"every": 2}),
        ("mistral", {}, {"top_k": 1}),
        ("qwen3", {"use_sliding_window": True, "max_window_layers": 2}, {}),
        ("qwen3", {}, {"residual": True}),
        ("qwen3", {"intermediate_size": 22}, {}),
    ],
)
def test_what_has_no_counterpart_says_why(architecture: str, config: dict[str, Any], moe: dict[str, Any]) -> None:
    assert len(obstacles(architecture, SIZES | config, MoeSpec.model_validate({"experts": 4} | moe))) == 1


@pytest.mark.parametrize(("architecture", "every", "top_k"), [("llama", 1, 2), ("mistral", 1, 3), ("qwen3", 2, 1)])
def test_what_has_one_can_be_built(architecture: str, every: int, top_k: int) -> None:
    moe = MoeSpec(experts=4, every=every, top_k=top_k)

    assert obstacles(architecture, SIZES, moe) == []
    name, keys = published_config(architecture, SIZES, moe)
    with torch.device("meta"):
        built = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **keys))
    assert built.num_parameters() == model_shape(architecture, SIZES, moe=moe).parameters
