"""What is called impossible really fails in transformers, and what is not really works."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
)

from zerotrain.arch.describe import architectures, shape_problems, supported_heads
from zerotrain.arch.families import FAMILIES

transformers.logging.set_verbosity_error()
# Some of the tiny models have an empty layer on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")

TEXT = {
    "vocab_size": 20,
    "hidden_size": 16,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
GROUPED = {**TEXT, "num_key_value_heads": 2}
TINY: dict[str, dict[str, Any]] = {
    "llama": GROUPED,
    "qwen2": GROUPED,
    "qwen3": {**GROUPED, "head_dim": 4},
    "mistral": GROUPED,
    "gpt2": {"vocab_size": 20, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 16},
    "bert": {**TEXT, "max_position_embeddings": 16},
    "mixtral": {**GROUPED, "num_local_experts": 4},
    "qwen3_moe": {**GROUPED, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8},
    "deepseek_v3": {
        **TEXT,
        "num_key_value_heads": 4,
        "moe_intermediate_size": 8,
        "n_routed_experts": 8,
        "n_group": 2,
        "topk_group": 1,
        "num_experts_per_tok": 2,
        "q_lora_rank": 8,
        "kv_lora_rank": 8,
        "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 4,
        "v_head_dim": 6,
        "first_k_dense_replace": 1,
    },
    "deepseek_v2": {
        **TEXT,
        "num_key_value_heads": 4,
        "moe_intermediate_size": 8,
        "n_routed_experts": 8,
        "num_experts_per_tok": 2,
        "q_lora_rank": 8,
        "kv_lora_rank": 8,
        "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 4,
        "v_head_dim": 6,
        "first_k_dense_replace": 1,
    },
    "vit": {
        "hidden_size": 16,
        "intermediate_size": 12,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 16,
        "patch_size": 8,
    },
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [2, 1]},
}
CLASSES = {
    "causal_lm": AutoModelForCausalLM,
    "masked_lm": AutoModelForMaskedLM,
    "sequence_classification": AutoModelForSequenceClassification,
    "image_classification": AutoModelForImageClassification,
}
# An odd number of tokens, so that no reshape over tokens comes out even by accident.
TOKENS = torch.zeros(1, 7, dtype=torch.long)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other cost more than these models."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def inputs(head: str, config: Any) -> dict[str, torch.Tensor]:
    """Returns one sample with its label, of the size the config asks for."""
    label = torch.zeros(1, dtype=torch.float if config.num_labels == 1 else torch.long)
    if head == "image_classification":
        side = getattr(config, "image_size", 32)
        height, width = (side, side) if isinstance(side, int) else side
        return {"pixel_values": torch.zeros(1, config.num_channels, height, width), "labels": label}
    if head == "sequence_classification":
        return {"input_ids": TOKENS, "labels": label}
    return {"input_ids": TOKENS, "labels": TOKENS}


def trains(architecture: str, config: dict[str, Any], head: str) -> bool:
    """Whether transformers builds the model and computes a finite loss and its gradients."""
    # A copy: the class writes into the mappings it is given.
    written = {key: dict(value) if isinstance(value, dict) else value for key, value in config.items()}
    try:
        real = AutoConfig.for_model(architecture, **written)
        model = CLASSES[head].from_config(real).train()
        loss = model(**inputs(head, real)).loss
        loss.backward()
    except Exception:
        return False
    return bool(torch.isfinite(loss))


def case(architecture: str, head: str | None = None, **changes: Any) -> Any:
    """Returns a parameter set: a tiny model with some keys changed."""
    wanted = ", ".join(f"{key}={value}" for key, value in changes.items())
    return pytest.param(architecture, changes, head or supported_heads(architecture)[0], id=f"{architecture} {wanted}")


REFUSED = [
    case("llama", hidden_size=18),
    case("llama", hidden_size=20),
    case("llama", hidden_size=18, head_dim=4),
    case("llama", num_attention_heads=8, num_key_value_heads=3),
    case("llama", num_attention_heads=2, num_key_value_heads=4),
    case("llama", num_attention_heads=1),
    case("llama", head_dim=5),
    case("llama", hidden_size=12),
    case("llama", pad_token_id=20),
    case("llama", rms_norm_eps="1e-6"),
    case("llama", rms_norm_eps=1),
    case("llama", rope_theta="1e6"),
    case("llama", rope_theta=None),
    case("llama", rope_parameters={"rope_theta": "1e6"}),
    case("llama", rope_scaling={"type": "linear"}),
    case("llama", rope_scaling={"rope_type": "linear", "factor": "2"}),
    case("llama", rope_scaling={"rope_type": "llama3", "factor": 8.0}),
    case("llama", rope_scaling={"rope_type": "longrope", "factor": 2.0}),
    case("llama", rope_scaling={"rope_type": "lnear", "factor": 2.0}),
    case("llama", attention_dropout=1.5),
    case("llama", attention_dropout=None),
    case("llama", initializer_range=1.5),
    case("llama", hidden_act="swiglu"),
    case("llama", vocab_size="20"),
    case("llama", num_hidden_layers=2.0),
    case("llama", mlp_bias="yes"),
    case("llama", dtype="bf16"),
    case("llama", id2label={"a": "b"}),
    case("llama", num_labels="3"),
    case("llama", num_labels=1, problem_type="single_label_classification"),
    case("llama", "sequence_classification", num_labels=0),
    case("llama", "sequence_classification", id2label={}),
    case("llama", per_layer_config={"1": {"intermediate_size": 20}}),
    case("llama", model_type="qwen2"),
    case("qwen2", hidden_size=3),
    case("qwen2", head_dim=None),
    case("qwen2", layer_types=["full_attention"]),
    case("qwen2", layer_types=["full_attention", "full"]),
    case("qwen2", layer_types=["full_attention", "sliding_attention"]),
    case("qwen2", use_sliding_window=True, sliding_window=0, max_window_layers=1),
    case("qwen2", rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": 1e4}}),
    case("qwen3", head_dim=None),
    case("qwen3", head_dim=7),
    case("mistral", sliding_window=0),
    case("mistral", num_key_value_heads=None),
    case("gpt2", n_head=3),
    case("gpt2", hidden_size=18),
    case("gpt2", n_inner=0),
    case("bert", hidden_size=18),
    case("bert", add_cross_attention=True),
    case("bert", type_vocab_size=0),
    case("bert", "sequence_classification", num_labels=0),
    case("mixtral", num_experts_per_tok=5),
    case("mixtral", num_experts=1),
    case("mixtral", intermediate_size=18),
    case("mixtral", hidden_size=18, head_dim=4),
    case("qwen3_moe", num_experts_per_tok=5),
    case("qwen3_moe", moe_intermediate_size=6),
    case("qwen3_moe", decoder_sparse_step=0),
    case("qwen3_moe", head_dim=7),
    case("deepseek_v3", num_experts_per_tok=9),
    case("deepseek_v3", n_group=3),
    case("deepseek_v3", n_group=8, topk_group=8),
    case("deepseek_v3", topk_group=3),
    case("deepseek_v3", n_group=None),
    case("deepseek_v3", qk_rope_head_dim=5),
    case("deepseek_v3", qk_rope_head_dim=5, rope_interleave=False),
    case("deepseek_v3", head_dim=6),
    case("deepseek_v3", num_key_value_heads=2),
    case("deepseek_v3", v_head_dim=None),
    case("deepseek_v3", first_k_dense_replace=None),
    case("deepseek_v2", num_experts_per_tok=9),
    case("deepseek_v2", num_experts_per_tok=None),
    case("deepseek_v2", hidden_size=18, moe_intermediate_size=8, experts_implementation="eager"),
    case("deepseek_v2", moe_intermediate_size=6),
    case("deepseek_v2", topk_method="group_limited_greedy"),
    case("deepseek_v2", topk_method="group_limited_greedy", n_group=2),
    case("deepseek_v2", topk_method="group_limited_greedy", n_group=3, topk_group=1),
    case("deepseek_v2", topk_method="group_limited_greedy", n_group=2, topk_group=3),
    case("deepseek_v2", topk_method="noaux_tc"),
    case("deepseek_v2", topk_method=None),
    case("deepseek_v2", qk_rope_head_dim=5),
    case("deepseek_v2", num_key_value_heads=2),
    case("deepseek_v2", kv_lora_rank=7),
    case("deepseek_v2", qk_nope_head_dim=3),
    case("vit", hidden_size=3),
    case("vit", patch_size=32),
    case("vit", patch_size=0),
    case("vit", image_size=[16]),
    case("vit", head_dim=None),
    case("vit", num_labels=0),
    case("resnet", hidden_sizes=[8, 16, 32]),
    case("resnet", hidden_sizes=[]),
    case("resnet", hidden_sizes=[3, 8]),
    case("resnet", depths=None),
    case("resnet", layer_type="bottle"),
    case("resnet", hidden_sizes=[8.0, 16]),
]

ACCEPTED = [
    case("llama", num_hidden_layers=0),
    case("llama", intermediate_size=0),
    case("llama", head_dim=10),
    case("llama", head_dim=1),
    case("llama", num_key_value_heads=None),
    case("llama", num_labels=0),
    case("llama", pad_token_id=-1),
    case("llama", rope_theta=500_000),
    case("llama", rope_scaling={"type": "linear", "factor": 2.0}),
    case("llama", rope_scaling={"rope_type": "yarn", "factor": 4.0}),
    case(
        "llama",
        rope_parameters={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    ),
    case(
        "llama",
        rope_scaling={"rope_type": "longrope", "factor": 2.0, "short_factor": [1.0] * 2, "long_factor": [2] * 2},
    ),
    case("llama", "sequence_classification", id2label={0: "a", 1: "b", 2: "c"}),
    case("qwen2", hidden_size=18),
    case("qwen2", head_dim=8),
    case("qwen2", num_attention_heads=8),
    case("qwen2", use_sliding_window=True, sliding_window=4, max_window_layers=1),
    case("qwen2", layer_types=["full_attention", "sliding_attention"], use_sliding_window=True, sliding_window=4),
    case("mistral", hidden_size=18),
    case("mistral", sliding_window=None),
    case("gpt2", add_cross_attention=True),
    case("gpt2", pad_token_id=99),
    case("gpt2", hidden_size=8, n_embd=15),
    case("bert", add_cross_attention=True, is_decoder=True),
    case("bert", type_vocab_size=1),
    case("mixtral", num_experts=6),
    case("mixtral", intermediate_size=20),
    case("mixtral", intermediate_size=18, experts_implementation="eager"),
    case("qwen3_moe", num_experts=0),
    case("qwen3_moe", decoder_sparse_step=9, num_experts_per_tok=99, moe_intermediate_size=7),
    case("qwen3_moe", mlp_only_layers=[0, 1, 9], num_experts_per_tok=99),
    case("deepseek_v3", num_experts_per_tok=8),
    case("deepseek_v3", n_shared_experts=0),
    case("deepseek_v3", num_key_value_heads=None),
    case("deepseek_v3", num_key_value_heads=8),
    case("deepseek_v3", q_lora_rank=None),
    case("deepseek_v3", first_k_dense_replace=2, n_group=3, topk_group=9, num_experts_per_tok=99),
    case("deepseek_v2", n_group=3, topk_group=9),
    case("deepseek_v2", topk_method="group_limited_greedy", n_group=2, topk_group=1),
    case("deepseek_v2", topk_method="group_limited_greedy", n_group=8, topk_group=8),
    case("deepseek_v2", head_dim=6),
    case("deepseek_v2", norm_topk_prob=True),
    case("deepseek_v2", q_lora_rank=None),
    case("deepseek_v2", n_shared_experts=0),
    case("deepseek_v2", first_k_dense_replace=2, num_experts_per_tok=None, topk_method=None),
    case("vit", hidden_size=18),
    case("vit", image_size=[16, 24], patch_size=[8, 5]),
    case("resnet", depths=[0, 1, 7]),
    case("resnet", hidden_sizes=[5, 7]),
    case("resnet", hidden_sizes=[3, 2], layer_type="basic"),
]


@pytest.mark.parametrize(("architecture", "changes", "head"), REFUSED)
def test_what_is_refused_fails_in_transformers(architecture: str, changes: dict[str, Any], head: str) -> None:
    config = {**TINY[architecture], **changes}
    problems = shape_problems(architecture, config, head)

    assert len(problems) == 1
    assert problems[0].key in config
    assert not trains(architecture, config, head)


@pytest.mark.parametrize(("architecture", "changes", "head"), ACCEPTED)
def test_what_is_accepted_trains_in_transformers(architecture: str, changes: dict[str, Any], head: str) -> None:
    config = {**TINY[architecture], **changes}

    assert shape_problems(architecture, config, head) == []
    assert trains(architecture, config, head)


# Keys whose right value depends on the data or the installation, and keys that say nothing about the model.
UNSWEPT = {
    "attn_implementation",
    "experts_implementation",
    "per_layer_config",
    "return_dict",
    "chunk_size_feed_forward",
    "n_positions",
    "max_position_embeddings",
    "model_type",
    "name_or_path",
    "_name_or_path",
    "out_features",
    "out_indices",
    "stage_names",
}
# Keys that transformers takes in any form, as it does not declare them or does not read them under the usual head.
UNTYPED = {
    "num_labels",
    "output_attentions",
    "rope_scaling",
    "rope_theta",
    "partial_rotary_factor",
    "original_max_position_embeddings",
    "head_dim",
    "num_nextn_predict_layers",
    "hidden_size",
    "num_attention_heads",
    "num_hidden_layers",
    "num_local_experts",
    "num_experts",
}
VALUES: tuple[Any, ...] = (None, -1, 0, 1, 3, 5, 8, 0.5, 1.5, "x", "1e-3", True, [1], [8, 8], {}, {"0": "x"})


@pytest.mark.parametrize("architecture", architectures())
def test_one_key_at_a_time_transformers_agrees_on_every_value(architecture: str) -> None:
    head = supported_heads(architecture)[0]
    for key in sorted(set(FAMILIES[architecture].known()) - UNSWEPT):
        for value in VALUES:
            config = {**TINY[architecture], key: value}
            problems = shape_problems(architecture, config, head)
            works = trains(architecture, config, head)

            assert works or problems, f"{key}={value!r} is accepted but fails"
            assert not works or all_harmless(problems, key), f"{key}={value!r} works, but {problems}"


def all_harmless(problems: list[Any], key: str) -> bool:
    """Whether each problem is a bound, which is also there for values without a meaning, or about an untyped key."""
    return key in UNTYPED or all("; it must be at " in problem.message for problem in problems)
