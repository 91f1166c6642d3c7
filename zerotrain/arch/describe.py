"""Answers about a model from its architecture and its config, without building it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

from zerotrain.arch.experts import GATED, with_experts
from zerotrain.arch.families import FAMILIES
from zerotrain.arch.family import LABELS, NUMBER, NUMBERS, WHOLE, Family, Finding, Key
from zerotrain.arch.shape import ExpertShape, ModelShape, ShapeProblem, UnknownArchitecture
from zerotrain.arch.tensors import Blueprint, Shape, count

if TYPE_CHECKING:
    from zerotrain.spec.moe import MoeSpec

_YAML_WORDS = {"None": "null", "True": "true", "False": "false"}
CLASSIFICATION_HEADS = ("sequence_classification", "image_classification")


def architectures() -> tuple[str, ...]:
    """Returns the names of the known architectures, which are transformers model types."""
    return tuple(FAMILIES)


def supported_heads(architecture: str) -> tuple[str, ...]:
    """Returns the heads the architecture can have, the usual one first.

    Raises UnknownArchitecture.
    """
    return _family(architecture).heads


def known_config_keys(architecture: str) -> frozenset[str]:
    """Returns every key that has an effect in the architecture's config, other names of a key included.

    Raises UnknownArchitecture.
    """
    return frozenset(_family(architecture).known())


def dropout_keys(architecture: str) -> tuple[str, ...]:
    """Returns the keys for the shares of activations that are dropped while training, in alphabetical order.

    Raises UnknownArchitecture.
    """
    known = known_config_keys(architecture)
    return tuple(sorted(key for key in known if "dropout" in key or key.endswith("_pdrop")))


def config_defaults(architecture: str) -> Mapping[str, Any]:
    """Returns what the config class declares, with the value a key has when it is left out.

    `None` where the class works the value out from other keys. Raises UnknownArchitecture.
    """
    return {name: key.default for name, key in _family(architecture).declared().items()}


def parameter_shapes(
    architecture: str, config: Mapping[str, Any], head: str | None = None, moe: MoeSpec | None = None
) -> dict[str, Shape]:
    """Returns name and shape of every parameter, as `named_parameters()` of the real model lists them, in its order.

    `moe` gives a dense decoder experts. Raises UnknownArchitecture, and ValueError for a head the architecture does not
    have.
    """
    return _blueprint(architecture, config, head, moe).tensors()


def linear_layers(architecture: str, config: Mapping[str, Any], head: str | None = None) -> dict[str, tuple[int, int]]:
    """Returns the inputs and outputs of every linear layer by its name: no table, no router, no expert.

    A tied output matrix is left out. Raises UnknownArchitecture, and ValueError for a head the architecture does not
    have.
    """
    blueprint = _blueprint(architecture, config, head, None)
    shapes = blueprint.tensors()
    matrices = [name for name, shape in shapes.items() if len(shape) == 2 and name not in blueprint.tables]
    names = [name.removesuffix(".weight") for name in matrices if name.endswith(".weight")]
    return {name: _sides(shapes, name) for name in names if not name.endswith(".gate")}


def _sides(shapes: Mapping[str, Shape], layer: str) -> tuple[int, int]:
    """Returns inputs and outputs of a layer; GPT-2 keeps its weights the other way round, and always has a bias."""
    first, second = shapes[f"{layer}.weight"]
    outputs = shapes.get(f"{layer}.bias", (first,))[0]
    return (second, first) if outputs == first else (first, second)


def model_shape(
    architecture: str, config: Mapping[str, Any], head: str | None = None, moe: MoeSpec | None = None
) -> ModelShape:
    """Returns the sizes and parameter counts of the model; `head=None` takes the usual one.

    The config has no `shape_problems`. `moe` gives a dense decoder experts. Raises UnknownArchitecture, and ValueError
    for a head the architecture does not have.
    """
    family, head = _family(architecture), _head(architecture, head)
    blueprint = _blueprint(architecture, config, head, moe)
    layers = blueprint.layer_counts()
    embeddings = count(blueprint.tables)
    parameters = embeddings + count(blueprint.stem) + sum(layers) + count(blueprint.tail)
    experts = _expert_shape(blueprint)
    return ModelShape(
        architecture=architecture,
        head=head,
        num_layers=len(layers),
        **family.dimensions(family.settle(config))._asdict(),
        tied_embeddings=blueprint.tied,
        parameters=parameters,
        active_parameters=parameters - _idle_parameters(experts),
        embedding_parameters=embeddings,
        layer_parameters=layers,
        experts=experts,
    )


def shape_problems(architecture: str, config: Mapping[str, Any], head: str | None = None) -> list[ShapeProblem]:
    """Returns everything that keeps the config from becoming a model that computes with this head.

    A size that cannot mean anything, such as -1 layers, is a problem even where transformers lets it pass; an unknown
    key is not, see `known_config_keys`. Raises UnknownArchitecture, and ValueError for a head the architecture does
    not have.
    """
    family, head = _family(architecture), _head(architecture, head)
    problems = [*_value_problems(family, config), *_common_problems(architecture, config, head)]
    wrong = {family.aliases.get(problem.key, problem.key) for problem in problems}
    return problems + list(_relation_problems(family, config, wrong))


def _family(architecture: str) -> Family:
    family = FAMILIES.get(architecture)
    if family is None:
        raise UnknownArchitecture(f"`{architecture}` is not a known architecture; one of {', '.join(FAMILIES)}")
    return family


def _head(architecture: str, head: str | None) -> str:
    heads = supported_heads(architecture)
    if head is not None and head not in heads:
        raise ValueError(f"`{architecture}` has no head `{head}`; one of {', '.join(heads)}")
    return head or heads[0]


def _blueprint(architecture: str, config: Mapping[str, Any], head: str | None, moe: MoeSpec | None) -> Blueprint:
    family = _family(architecture)
    blueprint = family.blueprint(family.settle(config), _head(architecture, head))
    return with_experts(blueprint, moe) if moe is not None and architecture in GATED else blueprint


def _expert_shape(blueprint: Blueprint) -> ExpertShape | None:
    layers = tuple(blueprint.expert_layers())
    if blueprint.experts is None or not layers:
        return None
    _, number, chosen, parameters = blueprint.experts
    return ExpertShape(number, chosen, layers, parameters)


def _idle_parameters(experts: ExpertShape | None) -> int:
    if experts is None:
        return 0
    idle = experts.num_experts - experts.experts_per_token
    return idle * experts.expert_parameters * len(experts.moe_layers)


def _value_problems(family: Family, config: Mapping[str, Any]) -> Iterator[ShapeProblem]:
    known = family.known()
    for name, value in config.items():
        finding = _value_finding(name, value, known[name]) if name in known else None
        if finding is not None:
            yield ShapeProblem(name, finding.message, finding.help)


def _value_finding(name: str, value: Any, key: Key) -> Finding | None:
    if not key.kind.accepts(value):
        return Finding(f"`{name}` is `{_shown(value)}`, which is not {key.kind.text}", _better_spelling(value, key))
    numbers: list[float] = list(value) if NUMBERS.accepts(value) else [value] if NUMBER.accepts(value) else []
    if key.least is not None and any(number < key.least for number in numbers):
        return Finding(f"`{name}` is `{_shown(value)}`; it must be at least {key.least}")
    if key.most is not None and any(number > key.most for number in numbers):
        return Finding(f"`{name}` is `{_shown(value)}`; it must be at most {key.most}")
    if key.choices is not None and value is not None and value not in key.choices:
        return Finding(f"`{name}` is `{_shown(value)}`, which is unknown", f"one of {', '.join(key.choices)}")
    return None


def _shown(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else _YAML_WORDS.get(str(value), str(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _better_spelling(value: Any, key: Key) -> str | None:
    number = _meant_number(value)
    if number is None:
        return None
    candidates = (int(number), number) if number.is_integer() else (number,)
    fitting = next((candidate for candidate in candidates if key.kind.accepts(candidate)), None)
    return None if fitting is None else f"write `{_with_point(fitting)}`"


def _meant_number(value: Any) -> float | None:
    """A number that YAML read as text, such as `1e-6`, or one of the other kind, such as 0 for 0.0."""
    try:
        number = float(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else inf
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def _with_point(number: float) -> str:
    text = repr(number)
    return text if "." in text else text.replace("e", ".0e")


def _common_problems(architecture: str, config: Mapping[str, Any], head: str) -> Iterator[ShapeProblem]:
    model_type = config.get("model_type", architecture)
    if model_type != architecture:
        yield ShapeProblem("model_type", f"`model_type` is `{model_type}`, but the architecture is `{architecture}`")
    if config.get("per_layer_config"):
        fact = "`per_layer_config` is not supported: all layers of a kind have the same sizes"
        yield ShapeProblem("per_layer_config", fact)
    yield from _label_problems(config, head)


def _label_problems(config: Mapping[str, Any], head: str) -> Iterator[ShapeProblem]:
    labels, number = config.get("id2label"), config.get("num_labels", 2)
    if not (LABELS.accepts(labels) if labels is not None else WHOLE.accepts(number)):
        return
    key, labels_count = ("num_labels", number) if labels is None else ("id2label", len(labels))
    if head in CLASSIFICATION_HEADS and labels_count < 1:
        yield ShapeProblem(key, f"`{key}` has {labels_count} labels; a classification head needs at least one")
    if config.get("problem_type") == "single_label_classification" and labels_count == 1:
        yield ShapeProblem("problem_type", f"`problem_type` is for several labels, but `{key}` has one")


def _relation_problems(family: Family, config: Mapping[str, Any], wrong: set[str]) -> Iterator[ShapeProblem]:
    settled = family.settle(config)
    written: dict[str | None, str] = {family.aliases.get(name, name): name for name in config}
    for relation in family.relations:
        finding = None if wrong & set(relation.keys) else relation.find(settled)
        if finding is not None:
            suspects = (finding.key, *relation.keys)
            blamed = next((written[key] for key in suspects if key in written), relation.keys[0])
            yield ShapeProblem(blamed, finding.message, finding.help)
