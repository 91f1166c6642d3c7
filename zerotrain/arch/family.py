"""What is known about one architecture: the keys of its config, its tensors, and what makes a config impossible."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeGuard

from zerotrain.arch.tensors import ACTIVATIONS, Blueprint

Config = Mapping[str, Any]
"""A config with every declared key under its own name: what the user left out has its default."""


class Kind(NamedTuple):
    """A type of value."""

    text: str
    """Completes `is not …`."""
    accepts: Callable[[Any], bool]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_whole(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, (list, tuple))


def _is_mapping(value: Any) -> TypeGuard[dict[Any, Any]]:
    return isinstance(value, dict)


def _each(entry: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        return _is_list(value) and all(map(entry, value))

    return accepts


def _any_of(*predicates: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        return any(predicate(value) for predicate in predicates)

    return accepts


def _is_a(wanted: type) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        return isinstance(value, wanted)

    return accepts


def _is_null(value: Any) -> bool:
    return value is None


def _is_labels(value: Any) -> bool:
    if not _is_mapping(value) or not all(map(_is_text, value.values())):
        return False
    return all(map(_is_whole, value)) or all(_is_text(key) and key.lstrip("-").isdecimal() for key in value)


def _is_label_ids(value: Any) -> bool:
    if not _is_mapping(value) or not all(map(_is_text, value)):
        return False
    return all(map(_is_whole, value.values())) or all(map(_is_text, value.values()))


def _is_pair(value: Any) -> bool:
    return _is_list(value) and len(value) == 2 and all(map(_is_whole, value))


def optional(kind: Kind) -> Kind:
    """Returns the kind that also takes `null`."""
    return Kind(f"{kind.text} or null", _any_of(_is_null, kind.accepts))


WHOLE = Kind("a whole number", _is_whole)
NUMBER = Kind("a number", _is_number)
DECIMAL = Kind("a number with a decimal point", _is_a(float))
FLAG = Kind("true or false", _is_a(bool))
TEXT = Kind("a text", _is_text)
TEXTS = Kind("a list of texts", _each(_is_text))
WHOLES = Kind("a list of whole numbers", _each(_is_whole))
NUMBERS = Kind("a list of numbers", _each(_is_number))
AREA = Kind("a whole number or a list of two", _any_of(_is_whole, _is_pair))
TOKENS = Kind("a whole number or a list of them", _any_of(_is_whole, _each(_is_whole)))
MAPPING = Kind("a mapping", _is_mapping)
LABELS = Kind("a mapping of whole numbers to texts", _is_labels)
LABEL_IDS = Kind("a mapping of texts to whole numbers", _is_label_ids)
ANYTHING = Kind("anything", _is_a(object))


class Key(NamedTuple):
    """One key of a config."""

    default: Any
    kind: Kind
    least: float | None = None
    """Smallest value, or smallest entry of a list."""
    most: float | None = None
    """Largest value."""
    choices: tuple[str, ...] | None = None
    """The only values, `null` aside."""


def size(default: int | None, least: int = 1, nullable: bool = False) -> Key:
    """Returns a key for a number of things; it may be `null` if `nullable` or if that is its default."""
    return Key(default, optional(WHOLE) if nullable or default is None else WHOLE, least)


_MOST_LAYERS = 100_000
"""Far more than any model has. A shape lists every layer, and a number with a slip in it must not fill the memory."""


def depth(default: int) -> Key:
    """Returns a key for a number of layers."""
    return Key(default, WHOLE, 0, _MOST_LAYERS)


def depths(default: tuple[int, ...]) -> Key:
    """Returns a key for the numbers of layers of stages."""
    return Key(default, WHOLES, 0, _MOST_LAYERS)


def flag(default: bool) -> Key:
    """Returns a key for a switch."""
    return Key(default, FLAG)


def share(default: float | None) -> Key:
    """Returns a key for a probability; it may be `null` if that is its default."""
    return Key(default, NUMBER if default is not None else optional(NUMBER), 0, 1)


def decimal(default: float, most: float | None = None) -> Key:
    """Returns a key for a number that is written with a decimal point and is not negative."""
    return Key(default, DECIMAL, 0, most)


def function(default: str) -> Key:
    """Returns a key for the name of an activation function."""
    return Key(default, TEXT, choices=tuple(ACTIVATIONS))


DTYPES = ("float32", "float16", "bfloat16", "float64")
PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")

# Declared by the base config class of transformers 5.17.0, with its defaults.
COMMON_KEYS: Mapping[str, Key] = {
    "transformers_version": Key(None, optional(TEXT)),
    "architectures": Key(None, optional(TEXTS)),
    "output_hidden_states": Key(False, optional(FLAG)),
    "return_dict": Key(True, optional(FLAG)),
    "dtype": Key(None, optional(TEXT), choices=DTYPES),
    "chunk_size_feed_forward": Key(0, WHOLE, 0),
    "is_encoder_decoder": flag(False),
    "id2label": Key(None, optional(LABELS)),
    "label2id": Key(None, optional(LABEL_IDS)),
    "problem_type": Key(None, optional(TEXT), choices=PROBLEM_TYPES),
}

# Read though the class does not declare them.
COMMON_EXTRA_KEYS: Mapping[str, Key] = {
    "num_labels": Key(2, WHOLE),
    "model_type": Key(None, TEXT),
    "torch_dtype": Key(None, optional(TEXT), choices=DTYPES),
    "name_or_path": Key(None, ANYTHING),
    "_name_or_path": Key(None, ANYTHING),
    "output_attentions": Key(False, optional(FLAG)),
    "attn_implementation": Key(None, ANYTHING),
    "experts_implementation": Key(None, ANYTHING),
    "per_layer_config": Key(None, optional(MAPPING)),
}


def special_tokens(bos: int | None, eos: int | None, pad: int | None = None) -> dict[str, Key]:
    """Returns the keys for the ids of special tokens."""
    return {
        "pad_token_id": Key(pad, optional(WHOLE)),
        "bos_token_id": Key(bos, optional(WHOLE)),
        "eos_token_id": Key(eos, optional(TOKENS)),
    }


class Finding(NamedTuple):
    """What is wrong between keys: the fact, the way out, and which key to blame if the user wrote it."""

    message: str
    help: str | None = None
    key: str | None = None


class Relation(NamedTuple):
    """A condition between keys without which the model cannot be built or cannot compute."""

    keys: tuple[str, ...]
    """The keys it reads; the first one the user wrote is to blame unless the finding knows better."""
    find: Callable[[Config], Finding | None]


class Dimensions(NamedTuple):
    """The sizes of a `ModelShape` that do not follow from tensors."""

    hidden_size: int
    num_attention_heads: int = 0
    num_key_value_heads: int = 0
    head_dim: int = 0
    value_head_dim: int = 0
    intermediate_size: int = 0
    vocab_size: int = 0
    max_positions: int | None = None
    learned_positions: bool = False
    causal: bool = False


@dataclass(frozen=True)
class Family:
    """One architecture, as transformers 5.17.0 builds it."""

    keys: Mapping[str, Key]
    """Keys its config class declares, those of every config class left out."""
    heads: tuple[str, ...]
    """Heads it can have, the usual one first."""
    dimensions: Callable[[Config], Dimensions]
    blueprint: Callable[[Config, str], Blueprint]
    """Tensors for a config and a head."""
    relations: tuple[Relation, ...] = ()
    extra_keys: Mapping[str, Key] = field(default_factory=dict[str, Key])
    """Keys that have an effect though the class does not declare them."""
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    """Other names of declared keys; where both are given the alias wins, as it does in transformers."""

    def declared(self) -> dict[str, Key]:
        """Returns every key the config class declares."""
        return {**COMMON_KEYS, **self.keys}

    def known(self) -> dict[str, Key]:
        """Returns every key that has an effect, aliases included."""
        keys = {**COMMON_KEYS, **COMMON_EXTRA_KEYS, **self.keys, **self.extra_keys}
        return keys | {alias: keys[name] for alias, name in self.aliases.items()}

    def settle(self, config: Config) -> dict[str, Any]:
        """Returns the config with every declared key: defaults, then what the user wrote, then aliases."""
        settled = {name: key.default for name, key in self.declared().items()} | dict(config)
        return settled | {name: settled.pop(alias) for alias, name in self.aliases.items() if alias in settled}


def label_count(config: Config) -> int:
    """Returns the number of labels of a classification head."""
    labels = config.get("id2label")
    return len(labels) if labels is not None else config.get("num_labels", COMMON_EXTRA_KEYS["num_labels"].default)


def head_dim(config: Config) -> int:
    """Returns the length of a query of one head: what the config says, else an equal part of the hidden size."""
    given = config.get("head_dim")
    return config["hidden_size"] // config["num_attention_heads"] if given is None else given


def key_value_heads(config: Config) -> int:
    """Returns the number of key and value heads: what the config says, else one per query head."""
    given = config["num_key_value_heads"]
    return config["num_attention_heads"] if given is None else given
