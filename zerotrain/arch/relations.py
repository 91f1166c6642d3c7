"""Conditions between keys that several architectures share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zerotrain.arch.family import NUMBER, NUMBERS, Config, Finding, Kind, Relation, head_dim, key_value_heads, optional

# What each `rope_type` needs besides `rope_theta` and the original length, which have defaults
# (`modeling_rope_utils` of transformers 5.17.0).
ROPE_TYPES: Mapping[str, Mapping[str, Kind]] = {
    "default": {},
    "linear": {"factor": NUMBER},
    "dynamic": {"factor": NUMBER},
    "yarn": {"factor": optional(NUMBER)},
    "longrope": {"short_factor": NUMBERS, "long_factor": NUMBERS},
    "llama3": {"factor": NUMBER, "low_freq_factor": NUMBER, "high_freq_factor": NUMBER},
    "proportional": {},
}
LAYER_KINDS = ("full_attention", "sliding_attention")


def _undivided_hidden_size(config: Config) -> Finding | None:
    width, heads = config["hidden_size"], config["num_attention_heads"]
    if width % heads == 0:
        return None
    return Finding(f"`hidden_size` {width} is not a multiple of `num_attention_heads` {heads}")


def _ungrouped_heads(config: Config) -> Finding | None:
    heads, groups = config["num_attention_heads"], key_value_heads(config)
    if heads % groups == 0:
        return None
    return Finding(
        f"`num_attention_heads` {heads} is not a multiple of `num_key_value_heads` {groups}",
        f"set `num_key_value_heads` to a divisor of {heads}",
    )


def _unusable_head_dim(config: Config) -> Finding | None:
    length = head_dim(config)
    quotient = f"`hidden_size` {config['hidden_size']} over `num_attention_heads` {config['num_attention_heads']}"
    subject = f"`head_dim` {length}" if config.get("head_dim") is not None else f"{quotient}, which is {length},"
    if length < 1:
        return Finding(f"{subject} leaves nothing for a head")
    # A single number is rotated by broadcasting, so only longer odd lengths fail.
    if length % 2 and length > 1:
        return Finding(f"{subject} is odd, but rotary positions turn pairs of numbers")
    return None


def _padding_outside(config: Config) -> Finding | None:
    token, vocab = config["pad_token_id"], config["vocab_size"]
    if token is None or -vocab <= token < vocab:
        return None
    return Finding(f"`pad_token_id` {token} is not less than `vocab_size` {vocab}")


def _impossible_rope(config: Config) -> Finding | None:
    rope: Mapping[str, Any] = config.get("rope_scaling") or config["rope_parameters"] or {}
    name = rope.get("rope_type", rope.get("type", "default"))
    nested = next((kind for kind in LAYER_KINDS if kind in rope), None)
    if nested:
        return Finding(f"rotary parameters have `{nested}`, but all layers of this architecture share them")
    if not isinstance(name, str) or name not in ROPE_TYPES:
        return Finding(f"`rope_type` `{name}` is unknown", f"one of {', '.join(ROPE_TYPES)}")
    missing = [key for key in ROPE_TYPES[name] if key not in rope]
    if missing:
        return Finding(f"rotary parameters of type `{name}` lack {', '.join(f'`{key}`' for key in missing)}")
    kinds = {"rope_theta": NUMBER, **ROPE_TYPES[name]}
    wrong = next((key for key, kind in kinds.items() if key in rope and not kind.accepts(rope[key])), None)
    return Finding(f"rotary `{wrong}` is `{rope[wrong]}`, which is not {kinds[wrong].text}") if wrong else None


def _impossible_layer_types(config: Config) -> Finding | None:
    types, layers = config["layer_types"], config["num_hidden_layers"]
    if types is None:
        return None
    if len(types) != layers:
        return Finding(f"`layer_types` has {len(types)} entries for {layers} layers")
    unknown = [name for name in types if name not in LAYER_KINDS]
    if unknown:
        return Finding(f"`layer_types` has `{unknown[0]}`", "use `full_attention` or `sliding_attention`")
    if "sliding_attention" in types and not (config["use_sliding_window"] and config["sliding_window"]):
        return Finding("`layer_types` has `sliding_attention` without a window", "set `use_sliding_window: true`")
    return None


HEADS_DIVIDE_HIDDEN_SIZE = Relation(("hidden_size", "num_attention_heads"), _undivided_hidden_size)
GROUPS_DIVIDE_HEADS = Relation(("num_key_value_heads", "num_attention_heads"), _ungrouped_heads)
ROTARY_HEAD_DIM = Relation(("head_dim", "hidden_size", "num_attention_heads"), _unusable_head_dim)
PADDING_IN_VOCABULARY = Relation(("pad_token_id", "vocab_size"), _padding_outside)
ROTARY_PARAMETERS = Relation(("rope_scaling", "rope_parameters"), _impossible_rope)
LAYER_TYPES = Relation(
    ("layer_types", "num_hidden_layers", "use_sliding_window", "sliding_window"), _impossible_layer_types
)
DECODER_RELATIONS = (GROUPS_DIVIDE_HEADS, ROTARY_HEAD_DIM, ROTARY_PARAMETERS, PADDING_IN_VOCABULARY)
