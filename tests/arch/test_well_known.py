"""Models everybody knows, at full size, held against their published sizes and against transformers."""

from __future__ import annotations

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

from zerotrain.arch.describe import model_shape, parameter_shapes, shape_problems

transformers.logging.set_verbosity_error()

CLASSES = {
    "causal_lm": AutoModelForCausalLM,
    "masked_lm": AutoModelForMaskedLM,
    "sequence_classification": AutoModelForSequenceClassification,
    "image_classification": AutoModelForImageClassification,
}

LLAMA_3_8B = {
    "vocab_size": 128_256,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "rope_theta": 500_000.0,
}
QWEN3_30B_A3B = {
    "vocab_size": 151_936,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_hidden_layers": 48,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "max_position_embeddings": 40_960,
}
MIXTRAL_8X7B = {
    "vocab_size": 32_000,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
}
DEEPSEEK_V3 = {
    "vocab_size": 129_280,
    "hidden_size": 7168,
    "intermediate_size": 18_432,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "n_shared_experts": 1,
    "n_routed_experts": 256,
    "num_experts_per_tok": 8,
    "n_group": 8,
    "topk_group": 4,
    "first_k_dense_replace": 3,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
    "max_position_embeddings": 163_840,
}
DEEPSEEK_V2_LITE = {
    "vocab_size": 102_400,
    "hidden_size": 2048,
    "intermediate_size": 10_944,
    "moe_intermediate_size": 1408,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "n_shared_experts": 2,
    "n_routed_experts": 64,
    "num_experts_per_tok": 6,
    "topk_method": "greedy",
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": None,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
    "max_position_embeddings": 163_840,
}
GPT2_124M = {"vocab_size": 50_257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12}
BERT_BASE = {
    "vocab_size": 30_522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
}
VIT_B_16 = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "image_size": 224,
    "patch_size": 16,
    "num_labels": 1000,
}
RESNET_50 = {
    "embedding_size": 64,
    "hidden_sizes": [256, 512, 1024, 2048],
    "depths": [3, 4, 6, 3],
    "layer_type": "bottleneck",
    "num_labels": 1000,
}

# Parameters and those a token meets; the totals are the ones printed with the published weights.
WELL_KNOWN = {
    "Llama-3-8B": ("llama", LLAMA_3_8B, "causal_lm", 8_030_261_248, 8_030_261_248),
    "Qwen3-30B-A3B": ("qwen3_moe", QWEN3_30B_A3B, "causal_lm", 30_532_122_624, 3_353_032_704),
    "Mixtral-8x7B": ("mixtral", MIXTRAL_8X7B, "causal_lm", 46_702_792_704, 12_879_925_248),
    "DeepSeek-V3": ("deepseek_v3", DEEPSEEK_V3, "causal_lm", 671_026_404_352, 37_552_282_624),
    "DeepSeek-V2-Lite": ("deepseek_v2", DEEPSEEK_V2_LITE, "causal_lm", 15_706_484_224, 2_661_150_208),
    "GPT-2": ("gpt2", GPT2_124M, "causal_lm", 124_439_808, 124_439_808),
    "BERT-base": ("bert", BERT_BASE, "masked_lm", 109_514_298, 109_514_298),
    "BERT-base classifier": ("bert", BERT_BASE, "sequence_classification", 109_483_778, 109_483_778),
    "ViT-B/16": ("vit", VIT_B_16, "image_classification", 86_567_656, 86_567_656),
    "ResNet-50": ("resnet", RESNET_50, "image_classification", 25_557_032, 25_557_032),
}


@pytest.mark.parametrize("name", WELL_KNOWN)
def test_well_known_models_have_their_published_sizes(name: str) -> None:
    architecture, config, head, parameters, active = WELL_KNOWN[name]
    shape = model_shape(architecture, config, head)

    assert (shape.parameters, shape.active_parameters) == (parameters, active)
    assert shape_problems(architecture, config, head) == []


@pytest.mark.parametrize("name", WELL_KNOWN)
def test_well_known_models_have_the_parameters_of_the_real_model(name: str) -> None:
    architecture, config, head, _, _ = WELL_KNOWN[name]
    with torch.device("meta"):
        model = CLASSES[head].from_config(AutoConfig.for_model(architecture, **config))
    real = {parameter: tuple(tensor.shape) for parameter, tensor in model.named_parameters()}

    assert parameter_shapes(architecture, config, head) == real
