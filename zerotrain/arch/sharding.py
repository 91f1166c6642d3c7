"""How the layers of an architecture are divided over the ranks of a tensor-parallel group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zerotrain.arch.shape import ModelShape


@dataclass(frozen=True)
class TensorSplit:
    """The layers of a decoder that are divided, by the last part of their names; all others are whole on each rank.

    The plan is Megatron's (Shoeybi et al., arXiv 1909.08053): a rank has some of the heads and some of the inner
    columns of the MLP, so that a layer needs two sums over the group, one after attention and one after the MLP.
    """

    column: tuple[str, ...]
    """Divided by their outputs."""
    row: tuple[str, ...]
    """Divided by their inputs."""
    summed: tuple[str, ...] = ()
    """Whole, but applied to a rank's own heads, so that gradients are summed over the group."""


_LLAMA = TensorSplit(
    column=("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"),
    row=("o_proj", "down_proj"),
)

TENSOR_SPLITS: Mapping[str, TensorSplit] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": TensorSplit(_LLAMA.column, _LLAMA.row, summed=("q_norm", "k_norm")),
}
"""Architectures whose layers can be divided."""


SEQUENCE_PARALLEL = frozenset(TENSOR_SPLITS)
"""Architectures whose attention can exchange heads for stretches of a sequence."""


def undivided(shape: ModelShape, tp: int) -> list[str]:
    """Returns the sizes of a model that are not a multiple of the tensor-parallel size, with their values."""
    sizes = {
        "attention heads": shape.num_attention_heads,
        "key-value heads": shape.num_key_value_heads,
        "inner columns of the MLP": shape.intermediate_size,
    }
    return [f"{size} {name}" for name, size in sizes.items() if size % tp]
