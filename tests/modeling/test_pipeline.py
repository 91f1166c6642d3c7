"""Which models become a pipeline, and what its parameters are called."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from zerotrain.errors import EngineError
from zerotrain.modeling.pipeline import Part, name_in_model, pipeline_of

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 99}


def test_a_part_calls_its_parameters_as_the_model_does_wherever_it_stands():
    layer = torch.nn.Sequential(Part("model.layers.3.mlp", torch.nn.Linear(2, 2)))

    assert [name_in_model(name) for name in layer.state_dict()] == [
        "model.layers.3.mlp.weight",
        "model.layers.3.mlp.bias",
    ]


@pytest.mark.parametrize(
    ("architecture", "stages", "code"), [("mixtral", 2, "ZT411"), ("llama", 3, "ZT412")], ids=["family", "layers"]
)
def test_what_check_cannot_see_of_a_model_on_a_hub_is_refused_before_the_start(architecture, stages, code):
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **SIZES))

    with pytest.raises(EngineError) as refused:
        pipeline_of(model, 7, stages)
    assert [finding.code for finding in refused.value.findings] == [code]
