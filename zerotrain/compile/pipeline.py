"""Which decoders can be a pipeline, and where their parts stand in the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zerotrain.spec.suggest import listed


@dataclass(frozen=True)
class DecoderParts:
    """Dotted names of the parts of a decoder, from its input to its output."""

    embedding: str
    blocks: str
    norm: str
    head: str = "lm_head"
    positions: str | None = None
    """Table of learned positions, which is added to the embedding."""
    dropout: str | None = None
    """What drops a share of that sum."""
    rotary: str | None = None
    """What turns positions into the rotations of queries and keys."""


_LLAMA = DecoderParts("model.embed_tokens", "model.layers", "model.norm", rotary="model.rotary_emb")
_GPT2 = DecoderParts(
    "transformer.wte", "transformer.h", "transformer.ln_f", positions="transformer.wpe", dropout="transformer.drop"
)

PIPELINES: Mapping[str, DecoderParts] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gpt2": _GPT2,
}
"""The architectures that can be a pipeline."""


def undividable(architecture: str | None, stages: int) -> tuple[str, str] | None:
    """Returns what is said of a model of which no pipeline can be made, and the way out; None if one can."""
    if stages == 1 or architecture in PIPELINES:
        return None
    message = f"`pp: {stages}` cannot divide a `{architecture}`: only {listed(PIPELINES, 'and')}"
    return message, "remove it; `zero.stage: 3` divides the weights of any model"


def too_many_stages(layers: int, stages: int) -> tuple[str, str] | None:
    """Returns what is said of stages that would have no layer, and the way out; None if each has one."""
    if stages == 1 or stages <= layers:
        return None
    return f"`pp: {stages}` is more than the number of layers, {layers}", f"use at most {layers}"
