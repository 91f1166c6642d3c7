"""The architectures that are known."""

from __future__ import annotations

from collections.abc import Mapping

from zerotrain.arch.dense import GPT2, LLAMA, MISTRAL, QWEN2, QWEN3
from zerotrain.arch.encoder import BERT
from zerotrain.arch.family import Family
from zerotrain.arch.moe import DEEPSEEK_V2, DEEPSEEK_V3, MIXTRAL, QWEN3_MOE
from zerotrain.arch.vision import RESNET, VIT

FAMILIES: Mapping[str, Family] = {
    "llama": LLAMA,
    "qwen2": QWEN2,
    "qwen3": QWEN3,
    "mistral": MISTRAL,
    "gpt2": GPT2,
    "bert": BERT,
    "mixtral": MIXTRAL,
    "qwen3_moe": QWEN3_MOE,
    "deepseek_v2": DEEPSEEK_V2,
    "deepseek_v3": DEEPSEEK_V3,
    "vit": VIT,
    "resnet": RESNET,
}
