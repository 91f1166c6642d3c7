"""Which part of a spec changes the loss and which only how fast it is reached; a hash of each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from zerotrain.compile.facts import DataFacts
from zerotrain.spec.run import RunSpec

Effect = Literal["convergence", "execution", "data"]

EFFECTS: Mapping[str, Effect] = {
    "seed": "convergence",
    "model": "convergence",
    "model.attention": "execution",
    "task": "convergence",
    "data": "data",  # stands in the hash as the fingerprint of what was prepared
    "data.seq_len": "convergence",
    "data.packing": "convergence",
    "batch": "execution",
    "batch.global_batch_size": "convergence",
    "horizon": "convergence",
    "optimizer": "convergence",
    "schedule": "convergence",
    "precision": "convergence",
    "moe": "convergence",
    "deepspeed": "convergence",  # raw keys may mean anything
    "name": "execution",
    "zero": "execution",
    "parallel": "execution",
    "activation_checkpointing": "execution",
    "checkpoint": "execution",
    "evaluation": "execution",
    "monitor": "execution",
    "export": "execution",
    "hardware": "execution",
    "launch": "execution",
    "software": "execution",
    "expect": "execution",
}
"""Effect of a key of the spec, or of all keys below it; the longest matching path counts."""


def effect_of(key: str) -> Effect:
    """Returns the effect of a dotted key; raises KeyError for a key the table does not cover."""
    while key not in EFFECTS:
        if "." not in key:
            raise KeyError(key)
        key = key.rpartition(".")[0]
    return EFFECTS[key]


def convergence_hash(resolved: RunSpec, facts: DataFacts) -> str:
    """Returns a hash of all that decides the loss: runs with the same one have the same loss within rounding."""
    settings = _with_effect(resolved, "convergence")
    settings["data fingerprint"] = facts.fingerprint
    settings["tokenizer fingerprint"] = facts.tokenizer_fingerprint
    return _hash(settings)


def execution_hash(resolved: RunSpec) -> str:
    """Returns a hash of all that decides only speed, memory and what is written."""
    return _hash(_with_effect(resolved, "execution"))


def _with_effect(resolved: RunSpec, effect: Effect) -> dict[str, Any]:
    leaves = _leaves(resolved.model_dump(mode="json"), "")
    return {key: value for key, value in leaves if effect_of(key) == effect}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inside in value.items():
            yield from _leaves(inside, f"{path}.{key}" if path else key)
    else:
        yield path, value


def _hash(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
