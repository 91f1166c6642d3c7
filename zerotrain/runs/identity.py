"""Which part of a spec changes the loss and which only how fast it is reached; a hash of each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar

from zerotrain.compile.compare import leaves
from zerotrain.compile.facts import DataFacts
from zerotrain.spec.run import RunSpec

Effect = Literal["convergence", "execution", "data"]

Value = TypeVar("Value")

EFFECTS: Mapping[str, Effect] = {
    "seed": "convergence",
    "model": "convergence",
    "model.attention": "execution",
    "task": "convergence",
    "data": "data",  # stands in the hash as the fingerprint of what was prepared
    "data.seq_len": "convergence",
    "data.packing": "convergence",
    "data.image": "convergence",
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
    "tiling": "execution",
    "compile": "execution",
    "checkpoint": "execution",
    "evaluation": "execution",  # early stopping too: it decides how many steps there are, not the loss of any
    "ema": "convergence",  # the averaged weights are a result of the run, and have a loss of their own
    "ema.evaluate": "execution",
    "health": "execution",  # decides which updates are left out, not what any of them is
    "monitor": "execution",
    "export": "execution",
    "archive": "execution",
    "hardware": "execution",
    "launch": "execution",
    "limits": "execution",
    "software": "execution",
    "expect": "execution",
}
"""Effect of a key of the spec, or of all keys below it; the longest matching path counts."""

_MICRO_BATCH = "batch.micro_batch_size"

Continuation = Literal["identity", "schedule", "free"]

CONTINUATIONS: Mapping[str, Continuation] = {
    "horizon": "schedule",
    "schedule": "schedule",
    "optimizer": "schedule",
    "optimizer.type": "identity",
    "optimizer.groups": "identity",  # each group has states of its own
    "name": "identity",
}
"""What a change means for a run that goes on, where it does not follow from its effect: `identity` makes another run of
it, `schedule` bends its loss curve, `free` changes neither; the longest matching path counts."""


def continuation_of(key: str, spec: RunSpec) -> Continuation:
    """Returns what a change of a dotted key means for a run that goes on."""
    if key == _MICRO_BATCH and _depends_on_micro_batches(spec):
        return "schedule"
    usual: Continuation = "free" if effect_of(key) == "execution" else "identity"
    return longest_match(CONTINUATIONS, key) or usual


def effect_of(key: str) -> Effect:
    """Returns the effect of a dotted key; raises KeyError for a key the table does not cover."""
    effect = longest_match(EFFECTS, key)
    if effect is None:
        raise KeyError(key)
    return effect


def longest_match(table: Mapping[str, Value], key: str) -> Value | None:
    """Returns what a table says of a dotted key or of the nearest section around it; None when it says nothing."""
    while key not in table:
        if "." not in key:
            return None
        key = key.rpartition(".")[0]
    return table[key]


def convergence_hash(resolved: RunSpec, facts: DataFacts) -> str:
    """Returns a hash of all that decides the loss: runs with the same one have the same loss within rounding."""
    settings = _with_effect(resolved, "convergence")
    if _depends_on_micro_batches(resolved):
        settings[_MICRO_BATCH] = resolved.model_dump(mode="json")["batch"]["micro_batch_size"]
    settings["data fingerprint"] = facts.fingerprint
    settings["tokenizer fingerprint"] = facts.tokenizer_fingerprint
    return _hash(settings)


def identity_hash(resolved: RunSpec, facts: DataFacts) -> str:
    """Returns a hash of what makes a run this one, whatever becomes of its schedule and its ranks."""
    settings = {key: value for key, value in _all_leaves(resolved) if continuation_of(key, resolved) == "identity"}
    settings = {key: value for key, value in settings.items() if effect_of(key) != "data"}
    return _hash(settings | {"data fingerprint": facts.fingerprint})


def execution_hash(resolved: RunSpec) -> str:
    """Returns a hash of all that decides only speed, memory and what is written."""
    return _hash(_with_effect(resolved, "execution"))


def _depends_on_micro_batches(spec: RunSpec) -> bool:
    """Tells whether it matters which tokens are in one micro-batch: there routers are balanced, and tokens dropped."""
    settings = dict(_all_leaves(spec))
    watched = ("moe.drop_tokens", "moe.aux_loss_weight", "model.config.output_router_logits")
    return any(settings.get(key) for key in watched)


def _with_effect(resolved: RunSpec, effect: Effect) -> dict[str, Any]:
    return {key: value for key, value in _all_leaves(resolved) if effect_of(key) == effect}


def _all_leaves(resolved: RunSpec) -> Iterator[tuple[str, Any]]:
    return leaves(resolved.model_dump(mode="json"))


def _hash(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
