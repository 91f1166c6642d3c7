"""What is computed from a config is held against the model transformers builds from it on the meta device."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
)

from zerotrain.arch.describe import (
    architectures,
    config_defaults,
    known_config_keys,
    model_shape,
    parameter_shapes,
    shape_problems,
    supported_heads,
)
from zerotrain.arch.shape import ExpertShape, ModelShape, UnknownArchitecture

transformers.logging.set_verbosity_error()

CLASSES = {
    "causal_lm": AutoModelForCausalLM,
    "masked_lm": AutoModelForMaskedLM,
    "sequence_classification": AutoModelForSequenceClassification,
    "image_classification": AutoModelForImageClassification,
}


def meta_model(architecture: str, config: dict[str, Any], head: str) -> torch.nn.Module:
    """Returns the real model without memory for its weights."""
    with torch.device("meta"):
        return CLASSES[head].from_config(AutoConfig.for_model(architecture, **config))


def real_shapes(model: torch.nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    """Returns name and shape of every parameter, in order."""
    return [(name, tuple(parameter.shape)) for name, parameter in model.named_parameters()]


TEXT = {
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
GROUPED = {**TEXT, "num_key_value_heads": 2}
GPT2 = {"vocab_size": 50, "n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 16}
MOE = {**GROUPED, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8, "head_dim": 6}
MLA = {
    **TEXT,
    "num_hidden_layers": 3,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 8,
    "n_routed_experts": 8,
    "n_group": 2,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "q_lora_rank": 10,
    "kv_lora_rank": 12,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 6,
    "v_head_dim": 10,
    "first_k_dense_replace": 1,
}
MLA_V2 = {**{key: MLA[key] for key in MLA if key not in ("n_group", "topk_group")}, "n_routed_experts": 6}
VIT = {
    "hidden_size": 24,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 16,
    "patch_size": 4,
}
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16, 20], "depths": [2, 1, 3]}

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", GROUPED),
    "llama tied": ("llama", {**GROUPED, "tie_word_embeddings": True}),
    "llama attention bias": ("llama", {**GROUPED, "attention_bias": True}),
    "llama mlp bias": ("llama", {**GROUPED, "mlp_bias": True}),
    "llama one key per head": ("llama", TEXT),
    "llama one key for all heads": ("llama", {**TEXT, "num_key_value_heads": 1}),
    "llama wide heads": ("llama", {**GROUPED, "head_dim": 16}),
    "llama no layers": ("llama", {**GROUPED, "num_hidden_layers": 0}),
    "llama labels": ("llama", {**GROUPED, "num_labels": 7}),
    "llama named labels": ("llama", {**GROUPED, "id2label": {"0": "a", "1": "b", "2": "c"}}),
    "llama prelu": ("llama", {**GROUPED, "hidden_act": "prelu"}),
    "llama xielu": ("llama", {**GROUPED, "hidden_act": "xielu"}),
    "qwen2": ("qwen2", GROUPED),
    "qwen2 tied": ("qwen2", {**GROUPED, "tie_word_embeddings": True}),
    "qwen2 uneven heads": ("qwen2", {**GROUPED, "hidden_size": 26}),
    "qwen2 wide heads": ("qwen2", {**GROUPED, "head_dim": 16}),
    "qwen2 sliding": ("qwen2", {**GROUPED, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
    "qwen3": ("qwen3", GROUPED),
    "qwen3 tied and biased": (
        "qwen3",
        {**GROUPED, "tie_word_embeddings": True, "attention_bias": True, "head_dim": 10},
    ),
    "mistral": ("mistral", GROUPED),
    "mistral wide heads": ("mistral", {**GROUPED, "head_dim": 10, "tie_word_embeddings": True}),
    "gpt2": ("gpt2", GPT2),
    "gpt2 untied": ("gpt2", {**GPT2, "tie_word_embeddings": False}),
    "gpt2 inner": ("gpt2", {**GPT2, "n_inner": 30}),
    "gpt2 cross-attention": ("gpt2", {**GPT2, "add_cross_attention": True}),
    "gpt2 other names": ("gpt2", {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "n_embd": 99}),
    "gpt2 prelu": ("gpt2", {**GPT2, "activation_function": "prelu"}),
    "bert": ("bert", {**TEXT, "max_position_embeddings": 16}),
    "bert untied": ("bert", {**TEXT, "tie_word_embeddings": False, "type_vocab_size": 3, "num_labels": 5}),
    "bert cross-attention": ("bert", {**TEXT, "is_decoder": True, "add_cross_attention": True}),
    "bert prelu": ("bert", {**TEXT, "hidden_act": "prelu"}),
    "mixtral": ("mixtral", {**GROUPED, "num_local_experts": 3}),
    "mixtral wide heads": ("mixtral", {**GROUPED, "num_experts": 5, "head_dim": 10, "tie_word_embeddings": True}),
    "mixtral prelu": ("mixtral", {**GROUPED, "num_local_experts": 3, "hidden_act": "prelu"}),
    "qwen3_moe": ("qwen3_moe", MOE),
    "qwen3_moe heads from hidden size": ("qwen3_moe", {key: MOE[key] for key in MOE if key != "head_dim"}),
    "qwen3_moe every other layer": ("qwen3_moe", {**MOE, "num_hidden_layers": 5, "decoder_sparse_step": 2}),
    "qwen3_moe some dense layers": ("qwen3_moe", {**MOE, "num_hidden_layers": 4, "mlp_only_layers": [0, 2]}),
    "qwen3_moe no experts": ("qwen3_moe", {**MOE, "num_experts": 0}),
    "qwen3_moe other name": ("qwen3_moe", {**MOE, "num_local_experts": 6, "attention_bias": True}),
    "deepseek_v3": ("deepseek_v3", MLA),
    "deepseek_v3 plain queries": ("deepseek_v3", {**MLA, "q_lora_rank": None, "attention_bias": True}),
    "deepseek_v3 biased": ("deepseek_v3", {**MLA, "attention_bias": True, "tie_word_embeddings": True}),
    "deepseek_v3 two shared experts": ("deepseek_v3", {**MLA, "n_shared_experts": 2}),
    "deepseek_v3 only dense layers": ("deepseek_v3", {**MLA, "first_k_dense_replace": 9}),
    "deepseek_v3 no dense layers": ("deepseek_v3", {**MLA, "first_k_dense_replace": 0, "num_nextn_predict_layers": 2}),
    "deepseek_v2": ("deepseek_v2", MLA_V2),
    "deepseek_v2 plain queries": ("deepseek_v2", {**MLA_V2, "q_lora_rank": None, "attention_bias": True}),
    "deepseek_v2 biased": ("deepseek_v2", {**MLA_V2, "mlp_bias": True, "tie_word_embeddings": True}),
    "deepseek_v2 only dense layers": ("deepseek_v2", {**MLA_V2, "first_k_dense_replace": 9, "mlp_bias": True}),
    "deepseek_v2 other name": ("deepseek_v2", {**MLA_V2, "num_experts": 4, "first_k_dense_replace": 0}),
    "vit": ("vit", VIT),
    "vit without query biases": ("vit", {**VIT, "qkv_bias": False, "num_labels": 1}),
    "vit oblong": ("vit", {**VIT, "image_size": [16, 24], "patch_size": [8, 4], "num_channels": 1}),
    "vit uneven heads": ("vit", {**VIT, "hidden_size": 26, "pooler_output_size": 8}),
    "vit without labels": ("vit", {**VIT, "num_labels": 0}),
    "resnet bottleneck": ("resnet", RESNET),
    "resnet basic": ("resnet", {**RESNET, "layer_type": "basic", "num_labels": 5}),
    "resnet strided first": ("resnet", {**RESNET, "downsample_in_first_stage": True, "downsample_in_bottleneck": True}),
    "resnet shallow": ("resnet", {**RESNET, "depths": [0, 1, 1, 4], "num_channels": 1}),
    "resnet prelu": ("resnet", {**RESNET, "hidden_act": "prelu"}),
}

CASES = [
    pytest.param(architecture, config, head, id=f"{name} {head}")
    for name, (architecture, config) in CONFIGS.items()
    for head in supported_heads(architecture)
]


@pytest.mark.parametrize(("architecture", "config", "head"), CASES)
def test_parameters_are_those_of_the_real_model_in_name_shape_and_order(
    architecture: str, config: dict[str, Any], head: str
) -> None:
    shapes = parameter_shapes(architecture, config, head)

    assert list(shapes.items()) == real_shapes(meta_model(architecture, config, head))


@pytest.mark.parametrize(("architecture", "config", "head"), CASES)
def test_totals_are_those_of_the_real_model(architecture: str, config: dict[str, Any], head: str) -> None:
    model = meta_model(architecture, config, head)
    shape = model_shape(architecture, config, head)

    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert shape.layer_parameters == real_layer_parameters(model)
    assert shape.num_layers == len(shape.layer_parameters)


def real_layer_parameters(model: torch.nn.Module) -> tuple[int, ...]:
    """Returns the parameters of every layer of the real model, found by the class of the module."""
    layers = [module for module in model.modules() if type(module).__name__.endswith(LAYER_CLASSES)]
    return tuple(sum(parameter.numel() for parameter in layer.parameters()) for layer in layers)


WITHOUT_DEFAULT = {"deepseek_v2": {"num_experts_per_tok": 6, "moe_intermediate_size": 1408}}
"""Keys whose default makes no model that trains."""

LAYER_CLASSES = ("DecoderLayer", "GPT2Block", "BertLayer", "ViTLayer", "BasicLayer", "BottleNeckLayer")


@pytest.mark.parametrize(("architecture", "config", "head"), CASES)
def test_nothing_is_wrong_with_a_config_that_works(architecture: str, config: dict[str, Any], head: str) -> None:
    unlabelled = config.get("num_labels") == 0

    assert bool(shape_problems(architecture, config, head)) == unlabelled


@pytest.mark.parametrize("architecture", architectures())
def test_defaults_make_a_model(architecture: str) -> None:
    config = WITHOUT_DEFAULT.get(architecture, {})
    model = meta_model(architecture, config, supported_heads(architecture)[0])

    assert shape_problems(architecture, config) == []
    assert list(parameter_shapes(architecture, config).items()) == real_shapes(model)


def test_a_shape_says_what_a_planner_needs() -> None:
    shape = model_shape("qwen3_moe", {**MOE, "num_hidden_layers": 5, "decoder_sparse_step": 2})

    assert shape.experts == ExpertShape(4, 2, (1, 3), 3 * 24 * 8)
    assert shape.parameters - shape.active_parameters == 2 * (4 - 2) * 3 * 24 * 8
    assert (shape.num_attention_heads, shape.num_key_value_heads, shape.head_dim) == (4, 2, 6)
    assert (shape.hidden_size, shape.intermediate_size, shape.vocab_size) == (24, 20, 50)
    assert (shape.max_positions, shape.learned_positions, shape.causal) == (32_768, False, True)
    assert shape.embedding_parameters == 50 * 24


def test_latent_attention_has_a_key_for_every_head_and_two_lengths() -> None:
    shape = model_shape("deepseek_v3", MLA)

    assert (shape.num_attention_heads, shape.num_key_value_heads) == (4, 4)
    assert (shape.head_dim, shape.value_head_dim) == (10, 10)
    assert shape.experts == ExpertShape(8, 2, (1, 2), 3 * 24 * 8)


def test_only_dense_layers_means_no_experts() -> None:
    shapes = [
        model_shape("deepseek_v3", {**MLA, "first_k_dense_replace": 9}),
        model_shape("qwen3_moe", {**MOE, "num_experts": 0}),
    ]

    assert [shape.experts for shape in shapes] == [None, None]
    assert all(shape.active_parameters == shape.parameters for shape in shapes)


def test_position_tables_count_as_embeddings_and_bound_the_sequence() -> None:
    gpt2, bert, vit = (model_shape(name, config) for name, config in (("gpt2", GPT2), ("bert", TEXT), ("vit", VIT)))

    assert (gpt2.embedding_parameters, gpt2.max_positions) == ((50 + 16) * 24, 16)
    assert (bert.embedding_parameters, bert.max_positions) == ((50 + 512 + 2) * 24, 512)
    assert (vit.embedding_parameters, vit.max_positions) == ((1 + 17) * 24, 17)
    assert all(shape.learned_positions for shape in (gpt2, bert, vit))


def test_embeddings_are_tied_only_under_a_head_that_predicts_tokens() -> None:
    config = {**GROUPED, "tie_word_embeddings": True}

    assert model_shape("llama", config).tied_embeddings
    assert not model_shape("llama", config, "sequence_classification").tied_embeddings
    assert not model_shape("llama", GROUPED).tied_embeddings


def test_sizes_a_convolutional_network_does_not_have_are_zero() -> None:
    shape = model_shape("resnet", RESNET)

    assert (shape.hidden_size, shape.num_layers, shape.max_positions) == (20, 6, None)
    assert (shape.num_attention_heads, shape.head_dim, shape.intermediate_size, shape.vocab_size) == (0, 0, 0, 0)


@pytest.mark.parametrize(("architecture", "config", "head"), CASES)
def test_the_sizes_of_a_shape_are_attributes_of_the_real_config(
    architecture: str, config: dict[str, Any], head: str
) -> None:
    real = AutoConfig.for_model(architecture, **config)
    shape = model_shape(architecture, config, head)
    names = ("hidden_size", "num_attention_heads", "vocab_size")

    for name in names:
        if hasattr(real, name):
            assert getattr(shape, name) == getattr(real, name), name


@pytest.mark.parametrize("architecture", architectures())
def test_the_first_head_is_the_usual_one(architecture: str) -> None:
    heads, config = supported_heads(architecture), WITHOUT_DEFAULT.get(architecture, {})

    assert model_shape(architecture, config).head == heads[0]
    assert model_shape(architecture, config) == model_shape(architecture, config, heads[0])


def test_an_unknown_architecture_is_named_with_those_that_are_known() -> None:
    for ask in (model_shape, parameter_shapes, shape_problems):
        with pytest.raises(UnknownArchitecture, match="`lama` is not a known architecture; one of llama, "):
            ask("lama", {})
    for ask in (known_config_keys, config_defaults, supported_heads):
        with pytest.raises(UnknownArchitecture, match="`lama`"):
            ask("lama")


def test_a_head_the_architecture_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="`bert` has no head `causal_lm`; one of masked_lm, sequence_classification"):
        model_shape("bert", {}, "causal_lm")


def test_a_config_is_not_changed() -> None:
    config = {"hidden_size": 24, "num_attention_heads": 2}
    model_shape("gpt2", config)
    shape_problems("gpt2", config)

    assert config == {"hidden_size": 24, "num_attention_heads": 2}


def test_a_thousand_layers_of_experts_answer_in_milliseconds() -> None:
    config = {"num_hidden_layers": 1000, "num_experts": 4096}
    start = time.process_time()
    shape = model_shape("qwen3_moe", config)
    names = parameter_shapes("qwen3_moe", config)
    seconds = time.process_time() - start

    assert shape.experts is not None and shape.experts.num_experts == 4096
    assert len(names) == 1000 * 11 + 3
    assert seconds < 0.2


def test_importing_the_room_imports_only_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "import zerotrain.arch.describe, zerotrain.arch.flops, zerotrain.hardware.gpus\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names) - {'zerotrain'}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


sizes = st.integers(1, 6)


@settings(max_examples=60, deadline=None)
@given(groups=sizes, per_group=sizes, pairs=sizes, layers=st.integers(0, 3), flags=st.tuples(*[st.booleans()] * 4))
def test_any_decoder_has_the_parameters_of_the_real_model(
    groups: int, per_group: int, pairs: int, layers: int, flags: tuple[bool, ...]
) -> None:
    tied, biased, mlp_biased, explicit = flags
    heads = groups * per_group
    config = {
        "vocab_size": 11,
        "hidden_size": heads * 2 * pairs,
        "intermediate_size": 5,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "tie_word_embeddings": tied,
        "attention_bias": biased,
        "mlp_bias": mlp_biased,
        "head_dim": 4 if explicit else None,
    }

    assert shape_problems("llama", config) == []
    assert list(parameter_shapes("llama", config).items()) == real_shapes(meta_model("llama", config, "causal_lm"))


@settings(max_examples=40, deadline=None)
@given(
    layers=st.integers(1, 6),
    step=st.integers(1, 4),
    dense=st.lists(st.integers(0, 8), max_size=3),
    experts=st.integers(0, 5),
)
def test_any_layout_of_expert_layers_is_that_of_the_real_model(
    layers: int, step: int, dense: list[int], experts: int
) -> None:
    layout = {"num_hidden_layers": layers, "decoder_sparse_step": step, "mlp_only_layers": dense}
    config = {**MOE, **layout, "num_experts": experts}
    model = meta_model("qwen3_moe", config, "causal_lm")
    sparse = tuple(index for index, layer in enumerate(model.model.layers) if hasattr(layer.mlp, "experts"))
    shape = model_shape("qwen3_moe", config)

    assert (shape.experts.moe_layers if shape.experts else ()) == sparse
    assert list(parameter_shapes("qwen3_moe", config).items()) == real_shapes(model)


def test_a_shape_is_a_value() -> None:
    shape = model_shape("llama", GROUPED)

    assert isinstance(shape, ModelShape)
    assert hash(shape) == hash(model_shape("llama", dict(GROUPED)))
