"""The model that is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zerotrain.spec.base import Pattern, PositiveInt, RawKeys, Spec

Rate = Annotated[float, Field(strict=True, ge=0, lt=1)]


class AdapterSpec(Spec):
    """A low-rank adapter: the weights stay as they are, and small matrices beside them are trained."""

    type: Literal["lora", "dora"]
    """`lora`: each adapted layer adds the product of two small matrices; `dora`: it also trains the length of the
    weights of each of its outputs."""
    rank: PositiveInt = 16
    """Inner size of the two matrices."""
    alpha: PositiveInt = 32
    """The product counts alpha / rank times."""
    dropout: Rate = 0.0
    """Share of an adapter's inputs that is dropped while training."""
    target_modules: Literal["all-linear"] | Annotated[list[str], Field(min_length=1)] = "all-linear"
    """Layers that get an adapter, by the end of their names: `[q_proj, v_proj]`; `all-linear`: every linear layer but
    the model's output."""
    modules_to_save: list[str] = []
    """Modules that are trained whole beside the adapter, by the end of their names; the head of a classifier always
    is."""


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
    dropout: Rate | None = None
    """Share of activations that is dropped while training: the value of each of the architecture's dropout keys that
    `config` does not give; `null`: what the architecture or the pretrained config says."""
    adapter: AdapterSpec | None = None
    """Low-rank adapters; `null` trains all weights."""
