"""Which layers of a model an adapter is put into, and how many parameters are trained; from names and shapes alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from zerotrain.arch.describe import CLASSIFICATION_HEADS, linear_layers, parameter_shapes
from zerotrain.arch.tensors import Shape
from zerotrain.compile.sections.groups import frozen
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.spec.model import AdapterSpec, ModelSpec
from zerotrain.spec.moe import MoeSpec
from zerotrain.spec.suggest import listed, nearest

ADAPTER = "default"
"""Name of the adapter in the names of its parameters; what peft calls the only one."""

OUTPUT = "lm_head"
"""What gives the logits of tokens, in every architecture that is known."""

_NAMES_OF_EXPERTS = ("gate_proj", "up_proj", "down_proj", "w1", "w2", "w3")
_HEADS = ("score", "classifier")


def target_layers(
    adapter: AdapterSpec, linear: Iterable[str], saved: Collection[str], output: str | None = None
) -> list[str]:
    """Returns the names of the layers that get an adapter: none in a module that is trained whole."""
    candidates = [name for name in linear if not any(_is_in(name, module) for module in saved)]
    if adapter.target_modules == "all-linear":
        return [name for name in candidates if name != output]
    return [name for name in candidates if _ends_with_any(name, adapter.target_modules)]


def adaptable(linear: Iterable[str], parameters: Iterable[str]) -> list[str]:
    """Returns the linear layers that peft can give an adapter.

    Where a model has routed experts, peft 0.21 takes the names of all other MLPs for those of experts, which are no
    layers but stacked matrices (`_convert_peft_config_moe` in utils/transformers_weight_conversion.py).
    """
    has_experts = any(".experts." in name for name in parameters)
    return [name for name in linear if not (has_experts and name.rpartition(".")[2] in _NAMES_OF_EXPERTS)]


def saved_modules(adapter: AdapterSpec, modules: Iterable[str], head: Sequence[str]) -> list[str]:
    """Returns the names of the modules that are trained whole, the head of a classifier among them."""
    named = [name for name in modules if _ends_with_any(name, adapter.modules_to_save)]
    return list(dict.fromkeys([*named, *head]))


def unmatched_modules(adapter: AdapterSpec, linear: Collection[str], modules: Collection[str]) -> list[Diagnostic]:
    """Returns a finding for every name in the spec that is the end of no name in the model."""
    targets = [] if adapter.target_modules == "all-linear" else adapter.target_modules
    places = [("target_modules", targets, linear), ("modules_to_save", adapter.modules_to_save, modules)]
    return [
        _unmatched(f"model.adapter.{key}[{place}]", wanted, known, modules)
        for key, names, known in places
        for place, wanted in enumerate(names)
        if not any(_ends_with_any(name, [wanted]) for name in known)
    ]


def target_problem(
    adapter: AdapterSpec, linear: Collection[str], modules: Collection[str], head: Sequence[str], output: str | None
) -> list[Diagnostic]:
    """Returns a finding when no layer is left for an adapter."""
    saved = saved_modules(adapter, modules, head)
    return [] if target_layers(adapter, linear, saved, output) else [_nothing_to_adapt(linear, saved)]


def trainable_parameters(
    architecture: str, config: Mapping[str, object], head: str, model: ModelSpec, moe: MoeSpec | None = None
) -> int:
    """Returns the number of parameters that are trained."""
    parameters = model_parameters(architecture, config, head, model, moe)
    still = set(frozen(model.freeze, parameters.shapes))
    return sum(prod(parameters.shapes[name]) for name in parameters.trainable if name not in still)


@dataclass(frozen=True)
class ModelParameters:
    """The parameters of a model, with its adapter if it has one, before any is frozen by the spec."""

    shapes: Mapping[str, Shape]
    """By the names of `named_parameters()`."""
    trainable: tuple[str, ...]
    """What an adapter leaves to be trained; all without one."""


def model_parameters(
    architecture: str, config: Mapping[str, object], head: str, model: ModelSpec, moe: MoeSpec | None = None
) -> ModelParameters:
    """Returns the parameters of the model that a spec asks for."""
    shapes, adapter = parameter_shapes(architecture, config, head, moe), model.adapter
    if adapter is None:
        return ModelParameters(shapes, tuple(shapes))
    linear = linear_layers(architecture, config, head)
    saved = saved_modules(adapter, modules_of(shapes), head_of(shapes, head))
    layers = target_layers(adapter, adaptable(linear, shapes), saved, OUTPUT)
    added = {name: shape for layer in layers for name, shape in _added(adapter, layer, *linear[layer]).items()}
    whole = [name for name in shapes if any(_is_in(name, module) for module in saved)]
    return ModelParameters({_beside(name, layers): shapes[name] for name in shapes} | added, (*whole, *added))


def modules_of(shapes: Iterable[str]) -> list[str]:
    """Returns the names of all modules that hold one of these parameters, directly or in a module inside."""
    paths = (name.split(".")[:-1] for name in shapes)
    return list(dict.fromkeys(".".join(path[:end]) for path in paths for end in range(1, len(path) + 1)))


def head_of(shapes: Iterable[str], head: str) -> list[str]:
    """Returns the names of what makes a classifier of a model; nothing for other heads."""
    first = dict.fromkeys(name.split(".")[0] for name in shapes)
    return [name for name in first if head in CLASSIFICATION_HEADS and name in _HEADS]


def _added(adapter: AdapterSpec, layer: str, inputs: int, outputs: int) -> dict[str, Shape]:
    """Returns what an adapter adds to a linear layer."""
    added: dict[str, Shape] = {f"{layer}.lora_A.{ADAPTER}.weight": (adapter.rank, inputs)}
    added[f"{layer}.lora_B.{ADAPTER}.weight"] = (outputs, adapter.rank)
    if adapter.type == "dora":
        added[f"{layer}.lora_magnitude_vector.{ADAPTER}.weight"] = (outputs,)
    return added


def _beside(name: str, layers: Collection[str]) -> str:
    """Returns the name that a parameter has when its layer has got an adapter."""
    layer, _, last = name.rpartition(".")
    return f"{layer}.base_layer.{last}" if layer in layers else name


def _ends_with_any(name: str, ends: Iterable[str]) -> bool:
    return any(name == end or name.endswith(f".{end}") for end in ends)


def _is_in(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def _unmatched(key: str, wanted: str, known: Collection[str], modules: Collection[str]) -> Diagnostic:
    ends = dict.fromkeys(name.rpartition(".")[2] for name in known)
    is_module = any(_ends_with_any(name, [wanted]) for name in modules)
    message = f"`{wanted}` is no linear layer of the model" if is_module else f"`{wanted}` is no module of the model"
    near = nearest(wanted, ends)
    help = f"did you mean `{near}`?" if near else f"use the end of a name: {listed(list(ends)[:4])}"
    return error("ZT740", "unmatched-module", message, help=help, key=key)


def _nothing_to_adapt(linear: Collection[str], saved: Collection[str]) -> Diagnostic:
    message = f"none of the {len(linear)} linear layers of the model is left for an adapter"
    message += f" beside {listed(saved, 'and')}" if saved else ""
    help = "remove `model.adapter`; this architecture is trained whole"
    return error("ZT741", "nothing-to-adapt", message, help=help, key="model.adapter")
