"""Dense decoders whose feed-forward layers have become experts, as `moe` of a spec asks for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from zerotrain.arch.tensors import Blueprint, Experts, Tensors, count, join, linear, within

if TYPE_CHECKING:
    from zerotrain.spec.moe import MoeSpec

GATED = ("llama", "mistral", "qwen2", "qwen3")
"""Dense architectures whose layers have one gated feed-forward module, named `mlp`."""

_MLP = "mlp."
_ROUTER = "deepspeed_moe.gate.wg"
_EXPERT = "deepspeed_moe.experts.deepspeed_experts.{number}."


def has_experts(layer: int, moe: MoeSpec) -> bool:
    """Tells whether a layer, counted from 0, gets experts."""
    return (layer + 1) % moe.every == 0


def with_experts(blueprint: Blueprint, moe: MoeSpec) -> Blueprint:
    """Returns a dense decoder with experts; names are those of one rank that holds all of them."""
    dense = blueprint.kinds["dense"]
    mlp = {name.removeprefix(_MLP): shape for name, shape in dense.items() if name.startswith(_MLP)}
    layers = enumerate(blueprint.layers)
    return replace(
        blueprint,
        kinds={"dense": dense, "moe": _in_place(dense, _sparse(mlp, moe))},
        layers=tuple((prefix, "moe" if has_experts(index, moe) else kind) for index, (prefix, kind) in layers),
        experts=Experts("moe", moe.experts, moe.top_k, count(mlp)),
    )


def _sparse(mlp: Tensors, moe: MoeSpec) -> Tensors:
    """Returns the tensors of DeepSpeed's `MoE`, in its order."""
    width, _ = mlp["down_proj.weight"]
    experts = (within(_EXPERT.format(number=number), mlp) for number in range(moe.experts))
    beside = join((within(_MLP, mlp), linear("coefficient", width, 2, bias=True))) if moe.residual else {}
    return join((linear(_ROUTER, width, moe.experts), *experts, beside))


def _in_place(dense: Tensors, sparse: Tensors) -> Tensors:
    """Returns the tensors of a layer with those of its feed-forward module replaced where they stood."""
    names = list(dense)
    first = next(place for place, name in enumerate(names) if name.startswith(_MLP))
    before = {name: dense[name] for name in names[:first]}
    after = {name: dense[name] for name in names[first:] if not name.startswith(_MLP)}
    return join((before, within(_MLP, sparse), after))
