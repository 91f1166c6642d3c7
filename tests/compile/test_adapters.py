"""Where an adapter goes, and how many parameters it trains, as the built model has it."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import AutoConfig

from zerotrain.arch.describe import linear_layers as known_linear_layers
from zerotrain.arch.describe import parameter_shapes
from zerotrain.compile.adapters import OUTPUT, adaptable, head_of, model_parameters, modules_of, trainable_parameters
from zerotrain.modeling.adapters import add_adapter, head_modules, linear_layers, output_of
from zerotrain.modeling.groups import freeze
from zerotrain.modeling.load import MODELS
from zerotrain.spec.model import AdapterSpec, ModelSpec

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 99}
SIZES |= {"pad_token_id": 0}
GROUPED = {**SIZES, "num_key_value_heads": 2}
VISION = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("llama", "causal_lm", {**GROUPED, "attention_bias": True, "mlp_bias": True}),
    ("llama", "causal_lm", {**GROUPED, "tie_word_embeddings": True}),
    ("llama", "sequence_classification", GROUPED),
    ("qwen3", "causal_lm", {**GROUPED, "head_dim": 8}),
    ("gpt2", "causal_lm", {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99}),
    ("gpt2", "sequence_classification", {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99}),
    ("bert", "masked_lm", SIZES),
    ("bert", "sequence_classification", SIZES),
    ("mixtral", "causal_lm", {**GROUPED, "num_local_experts": 4}),
    ("qwen3_moe", "causal_lm", {**GROUPED, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}),
    (
        "deepseek_v3",
        "causal_lm",
        {**SIZES, "num_key_value_heads": 4, "n_routed_experts": 4, "moe_intermediate_size": 16}
        | {"first_k_dense_replace": 1, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8}
        | {"qk_nope_head_dim": 8, "v_head_dim": 8, "n_group": 2, "topk_group": 1, "num_experts_per_tok": 1},
    ),
    (
        "deepseek_v2",
        "causal_lm",
        {**SIZES, "num_key_value_heads": 4, "n_routed_experts": 4, "moe_intermediate_size": 16}
        | {"first_k_dense_replace": 1, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8}
        | {"qk_nope_head_dim": 8, "v_head_dim": 8, "num_experts_per_tok": 1},
    ),
    ("vit", "image_classification", VISION),
]


def built(architecture: str, head: str, config: dict[str, Any]) -> Any:
    return MODELS[head].from_config(AutoConfig.for_model(architecture, **config))


@pytest.mark.parametrize(("architecture", "head", "config"), CASES)
def test_linear_layers_and_heads_are_those_of_the_built_model(architecture, head, config):
    model = built(architecture, head, config)
    shapes = parameter_shapes(architecture, config, head)

    known = adaptable(known_linear_layers(architecture, config, head), shapes)
    assert sorted(known) == sorted(linear_layers(model))
    assert head_of(shapes, head) == head_modules(model, head)
    assert output_of(model) in (None, OUTPUT) or head == "masked_lm"
    assert set(modules_of(shapes)) <= {name for name, _ in model.named_modules()}


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize(("architecture", "head", "config"), CASES)
def test_the_parameters_and_those_that_are_trained_are_those_of_the_built_model(architecture, head, config, kind):
    spec = ModelSpec(architecture=architecture, config=config, adapter=AdapterSpec(type=kind, rank=4))
    model = built(architecture, head, config)

    add_adapter(model, spec, head, 1, {"zero_optimization": {"stage": 0}})

    known, parameters = model_parameters(architecture, config, head, spec), dict(model.named_parameters())
    assert known.shapes == {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    trained = {name for name, parameter in parameters.items() if parameter.requires_grad}
    assert set(known.trainable) == trained != set()
    counted = sum(parameters[name].numel() for name in trained)
    assert trainable_parameters(architecture, config, head, spec) == counted


@pytest.mark.parametrize("adapter", [None, AdapterSpec(type="lora", rank=2, target_modules=["up_proj", "lm_head"])])
def test_what_is_frozen_by_name_does_not_count(adapter):
    spec = ModelSpec(architecture="llama", config=GROUPED, adapter=adapter, freeze=[r"layers\.0", "embed_tokens"])
    model = built("llama", "causal_lm", GROUPED)

    add_adapter(model, spec, "causal_lm", 1, {"zero_optimization": {"stage": 0}})
    freeze(model, spec.freeze)

    counted = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert trainable_parameters("llama", GROUPED, "causal_lm", spec) == counted


def test_a_module_that_is_trained_whole_gets_no_adapter_inside():
    adapter = AdapterSpec(type="lora", rank=2, modules_to_save=["pooler"])
    spec = ModelSpec(architecture="bert", config=SIZES, adapter=adapter)
    model = built("bert", "sequence_classification", SIZES)

    add_adapter(model, spec, "sequence_classification", 1, {"zero_optimization": {"stage": 0}})

    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    whole = {name for name in trained if "lora_" not in name}
    assert whole == {"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"}
    assert trainable_parameters("bert", SIZES, "sequence_classification", spec) == sum(
        parameter.numel() for parameter in model.parameters() if parameter.requires_grad
    )
