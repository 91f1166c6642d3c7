"""The model that is trained."""

from __future__ import annotations

from typing import Literal

from zerotrain.spec.base import Pattern, RawKeys, Spec


class ModelSpec(Spec):
    """The model: an architecture trained from scratch, or weights to start from."""

    architecture: str | None = None
    """A transformers `model_type` to train from scratch: `llama`, `qwen3`, `gpt2`, …"""
    config: RawKeys = {}
    """Keys of that architecture's `config.json`; what is not given has the architecture's own default."""
    pretrained: str | None = None
    """A folder or hub id with weights to start from, instead of `architecture`."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    attention: Literal["sdpa", "flash_attention_2", "eager"] = "sdpa"
    """The attention implementation."""
    freeze: list[Pattern] = []
    """Parameters that stay as they are: regular expressions, searched in names such as `model.embed_tokens.weight`."""
    adapter: None = None
    """Low-rank adapters; `null` trains all weights."""
