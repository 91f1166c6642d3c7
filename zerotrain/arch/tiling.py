"""What can work on one piece of a sequence after the other."""

from __future__ import annotations

from collections.abc import Mapping

TILED_MLPS: Mapping[str, str] = dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gpt2"), "mlp")
"""By architecture the name that an MLP has in transformers. Those with experts are not here: a piece would be routed by
itself, and what a router says would be heard once per piece."""

TILED_HEADS = frozenset({*TILED_MLPS, "mixtral", "qwen3_moe", "deepseek_v2", "deepseek_v3"})
"""Architectures whose logits are what the head makes of hidden states, and nothing is done to them afterwards."""
