"""The formula is held against an operation counter and against published figures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageClassification, AutoModelForMaskedLM

from zerotrain.arch.describe import model_shape
from zerotrain.arch.flops import forward_backward_flops_per_token

transformers.logging.set_verbosity_error()

CLASSES = {
    "causal_lm": AutoModelForCausalLM,
    "masked_lm": AutoModelForMaskedLM,
    "image_classification": AutoModelForImageClassification,
}
TEXT = {
    "vocab_size": 96,
    "hidden_size": 128,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
MLA = {
    **TEXT,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 64,
    "n_routed_experts": 8,
    "n_group": 2,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "q_lora_rank": 48,
    "kv_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 32,
    "v_head_dim": 24,
    "first_k_dense_replace": 1,
}
COUNTED: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {**TEXT, "num_key_value_heads": 2}),
    "llama tied": ("llama", {**TEXT, "tie_word_embeddings": True}),
    "qwen3 wide heads": ("qwen3", {**TEXT, "num_key_value_heads": 2, "head_dim": 64}),
    "gpt2": ("gpt2", {"vocab_size": 96, "n_embd": 128, "n_layer": 2, "n_head": 4, "n_positions": 64}),
    "bert": ("bert", {**TEXT, "max_position_embeddings": 64}),
    "mixtral": ("mixtral", {**TEXT, "num_key_value_heads": 2, "num_local_experts": 8}),
    "deepseek_v3": ("deepseek_v3", MLA),
    "deepseek_v2": ("deepseek_v2", MLA),
}


def counted_flops(architecture: str, config: dict[str, Any], head: str, length: int) -> float:
    """Returns the operations of one forward and backward pass per token, attention written out as products."""
    # Grouped products are unknown to the counter; one expert after the other is the same work.
    real = AutoConfig.for_model(architecture, **config, attn_implementation="eager", experts_implementation="eager")
    model = CLASSES[head].from_config(real)
    tokens = torch.randint(0, 96, (1, length))
    with FlopCounterMode(display=False) as counter:
        model(input_ids=tokens, labels=tokens).loss.backward()
    return counter.get_total_flops() / length


@pytest.mark.parametrize("name", COUNTED)
def test_the_formula_agrees_with_an_operation_counter(name: str) -> None:
    architecture, config = COUNTED[name]
    shape = model_shape(architecture, config)
    expected = counted_flops(architecture, config, shape.head, 64)

    assert forward_backward_flops_per_token(shape, 64, causal=False) == pytest.approx(expected, rel=0.015)


def test_a_token_of_an_image_transformer_is_a_patch() -> None:
    config = {**TEXT, "image_size": 32, "patch_size": 4}
    del config["vocab_size"]
    shape = model_shape("vit", config)
    model = AutoModelForImageClassification.from_config(
        AutoConfig.for_model("vit", **config, attn_implementation="eager")
    )
    with FlopCounterMode(display=False) as counter:
        model(pixel_values=torch.randn(1, 3, 32, 32), labels=torch.zeros(1, dtype=torch.long)).loss.backward()
    flops = 65 * forward_backward_flops_per_token(shape, 65, causal=False)

    # The formula is a little above: pixels need no gradient, and only one token is classified.
    assert flops == pytest.approx(counter.get_total_flops(), rel=0.03)


LLAMA_3_8B = {
    "vocab_size": 128_256,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}


def test_llama_3_8b_at_8192_tokens_needs_what_is_published() -> None:
    shape = model_shape("llama", LLAMA_3_8B)

    assert forward_backward_flops_per_token(shape, 8192) == pytest.approx(51.5e9, rel=0.002)
    assert forward_backward_flops_per_token(shape, 8192, causal=False) == pytest.approx(57.9e9, rel=0.002)


def test_equal_lengths_give_twelve_layers_hidden_sequence() -> None:
    shape = model_shape("llama", LLAMA_3_8B)
    without_attention = 6 * (shape.parameters - shape.embedding_parameters)

    assert forward_backward_flops_per_token(shape, 100, causal=False) - without_attention == 12 * 32 * 4096 * 100
    assert forward_backward_flops_per_token(shape, 100) - without_attention == 6 * 32 * 4096 * 100


def test_the_output_matrix_counts_even_when_it_is_tied() -> None:
    tied = model_shape("llama", {**LLAMA_3_8B, "tie_word_embeddings": True})
    free = model_shape("llama", LLAMA_3_8B)

    assert tied.parameters < free.parameters
    assert forward_backward_flops_per_token(tied, 512) == forward_backward_flops_per_token(free, 512)


def test_experts_that_are_not_chosen_cost_nothing() -> None:
    few = model_shape("mixtral", {"num_local_experts": 8})
    many = model_shape("mixtral", {"num_local_experts": 64})
    routers = 6 * 32 * (64 - 8) * 4096

    assert forward_backward_flops_per_token(many, 512) - forward_backward_flops_per_token(few, 512) == routers


def test_a_convolutional_network_has_no_tokens() -> None:
    with pytest.raises(ValueError, match="`resnet` has no tokens"):
        forward_backward_flops_per_token(model_shape("resnet", {}), 1)
