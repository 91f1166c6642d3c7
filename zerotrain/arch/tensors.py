"""Parameter tensors by name and shape, and a model described as layers of a few kinds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import NamedTuple

Shape = tuple[int, ...]
Tensors = dict[str, Shape]

# Names transformers 5.17.0 accepts as an activation, with the parameters an activation brings along, per module.
ACTIVATIONS: Mapping[str, Tensors] = {
    "gelu": {},
    "gelu_10": {},
    "gelu_accurate": {},
    "gelu_fast": {},
    "gelu_new": {},
    "gelu_python": {},
    "gelu_python_tanh": {},
    "gelu_pytorch_tanh": {},
    "hardswish": {},
    "laplace": {},
    "leaky_relu": {},
    "linear": {},
    "mish": {},
    "prelu": {"weight": (1,)},
    "quick_gelu": {},
    "relu": {},
    "relu2": {},
    "relu6": {},
    "sigmoid": {},
    "silu": {},
    "sqrtsoftplus": {},
    "swish": {},
    "tanh": {},
    "xielu": {"alpha_p": (1,), "alpha_n": (1,)},
}


def linear(name: str, inputs: int, outputs: int, bias: bool = False) -> Tensors:
    """Returns the tensors of a matrix product: `weight` is (outputs, inputs)."""
    weight: Tensors = {f"{name}.weight": (outputs, inputs)}
    return weight | {f"{name}.bias": (outputs,)} if bias else weight


def scale(name: str, size: int) -> Tensors:
    """Returns the tensor of a norm that only scales (RMS norm)."""
    return {f"{name}.weight": (size,)}


def norm(name: str, size: int) -> Tensors:
    """Returns the tensors of a norm that scales and shifts (layer norm, batch norm)."""
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def activation(name: str, function: str) -> Tensors:
    """Returns the tensors of an activation function, which are none for all but a few."""
    return within(f"{name}.", ACTIVATIONS[function])


def within(prefix: str, tensors: Mapping[str, Shape]) -> Tensors:
    """Returns the tensors under longer names."""
    return {prefix + name: shape for name, shape in tensors.items()}


def join(parts: Iterable[Mapping[str, Shape]]) -> Tensors:
    """Returns the tensors of all parts, in order."""
    return dict(chain.from_iterable(part.items() for part in parts))


def count(tensors: Mapping[str, Shape]) -> int:
    """Returns the number of elements of all tensors."""
    return sum(map(prod, tensors.values()))


class Experts(NamedTuple):
    """How the layers of kind `kind` hold their experts."""

    kind: str
    num_experts: int
    experts_per_token: int
    expert_parameters: int


@dataclass(frozen=True)
class Blueprint:
    """All parameters of a model; layers of one kind have the same tensors, so they are described once."""

    tables: Tensors
    """What is looked up or added to the input and multiplies nothing."""
    stem: Tensors
    """The rest of what comes before the layers."""
    kinds: Mapping[str, Tensors]
    """Tensors of one layer, by kind of layer."""
    layers: tuple[tuple[str, str], ...]
    """Prefix of its names and kind, for each layer in order."""
    tail: Tensors
    """What comes after the layers, the head included; a tied output matrix is left out."""
    tied: bool = False
    """The output matrix is the input embedding."""
    experts: Experts | None = None

    def tensors(self) -> Tensors:
        """Returns every parameter in the order of the model's `named_parameters()`."""
        layers = (within(prefix, self.kinds[kind]) for prefix, kind in self.layers)
        return join(chain((self.tables, self.stem), layers, (self.tail,)))

    def layer_counts(self) -> tuple[int, ...]:
        """Returns the number of parameters of each layer."""
        counts = {kind: count(tensors) for kind, tensors in self.kinds.items()}
        return tuple(counts[kind] for _, kind in self.layers)

    def expert_layers(self) -> Iterator[int]:
        """Yields the indices of the layers that have experts."""
        return (index for index, (_, kind) in enumerate(self.layers) if self.experts and kind == self.experts.kind)
