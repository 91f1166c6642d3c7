"""What of a layer can be computed again by itself in the backward pass."""

from __future__ import annotations

from collections.abc import Mapping

_DECODER = {"attention": "self_attn", "mlp": "mlp"}

RECOMPUTED_PARTS: Mapping[str, Mapping[str, str]] = {
    **dict.fromkeys(
        ("llama", "mistral", "qwen2", "qwen3", "mixtral", "qwen3_moe", "deepseek_v2", "deepseek_v3"), _DECODER
    ),
    "gpt2": {"attention": "attn", "mlp": "mlp"},
    "bert": {"attention": "attention"},
    "vit": {"attention": "attention", "mlp": "mlp"},
    "resnet": {},
}
"""By architecture the names that the parts of a layer have in transformers; BERT's MLP is two modules."""
