"""Every key of a spec decides the loss, or only how fast it is reached, or stands for its data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from zerotrain.compile.facts import DataFacts
from zerotrain.runs.identity import EFFECTS, continuation_of, convergence_hash, effect_of, execution_hash
from zerotrain.spec.run import RunSpec

Settled = Callable[..., RunSpec]

OPTIMIZERS = {
    "adam": "{type: adam, lr: 0.5}",
    "adamw": "{type: adamw, lr: 0.5}",
    "adagrad": "{type: adagrad, lr: 0.5}",
    "sgd": "{type: sgd, lr: 0.5, momentum: 0.9}",
    "lion": "{type: lion, lr: 0.5}",
    "lamb": "{type: lamb, lr: 0.5}",
    "muon": "{type: muon, lr: 0.5, adam_lr: 0.1}",
}
EVERYTHING = {
    "model": "{architecture: llama, config: {hidden_size: 64, rope_parameters: {rope_theta: 10000.0}}, revision: main}",
    "data": "{train: [{type: text, path: a, max_documents: 5}, {type: python_stdlib}], "
    "validation: [{type: text, path: b}], tokenizer: {type: bpe, vocab_size: 999}, seq_len: 32, cache: here}",
    "schedule": "{type: cosine, warmup: 5 steps, min_lr_ratio: 0.1}",
    "precision": "{dtype: fp16, loss_scale: {window: 5}}",
    "zero": "{stage: 3, offload_optimizer: {device: nvme, nvme_path: /x}, "
    "offload_param: {device: nvme, nvme_path: /x}}",
    "moe": "{experts: 4, noisy_gate: jitter, aux_loss_weight: 0}",
    "activation_checkpointing": "{granularity: full, implementation: deepspeed}",
    "checkpoint": "{save_every: 5 steps}",
    "evaluation": "{every: 5 steps, max_samples: 7, early_stopping: {patience: 5}}",
    "ema": "{decay: 0.9}",
    "export": "{sample: {prompts: [a]}}",
    "launch": "{type: deepspeed, hostfile: hosts, include: a, exclude: b}",
    "software": "{deepspeed: 0.19.8}",
    "expect": "{tokens: 10B}",
    "deepspeed": "{comms_logger: {enabled: true}}",
}
EXPECTED = {
    "convergence": {
        "seed",
        "model.architecture",
        "model.config",
        "model.pretrained",
        "model.revision",
        "model.adapter",
        "model.dropout",
        "task",
        "data.seq_len",
        "data.packing",
        "data.image",
        "batch.global_batch_size",
        "horizon",
        "optimizer",
        "schedule",
        "precision",
        "moe",
        "deepspeed",
        "model.freeze",
        "ema.decay",
        "ema.warmup",
        "ema.every",
    },
    "execution": {
        "name",
        "model.attention",
        "batch.micro_batch_size",
        "batch.gradient_accumulation_steps",
        "zero",
        "parallel",
        "activation_checkpointing",
        "tiling",
        "compile",
        "checkpoint",
        "evaluation",
        "ema.evaluate",
        "health",
        "monitor",
        "export",
        "hardware",
        "launch",
        "limits",
        "archive",
        "software",
        "expect",
    },
    "data": {"data.train", "data.validation", "data.tokenizer", "data.bad_samples", "data.cache"},
}
"""Written out once more: moving a key from one to the other invalidates the runs of users."""


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inside = list(pairs)
    if not inside:
        yield path, value
    for key, item in inside:
        yield from leaves(item, (*path, key))


def with_leaf(values: dict[str, Any], path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    copied = json.loads(json.dumps(values))
    owner = copied
    for part in path[:-1]:
        owner = owner[part]
    owner[path[-1]] = value
    return copied


def expected_effect(path: tuple[str | int, ...]) -> str:
    key = ".".join(str(part) for part in path)
    matching = [
        (len(known), effect)
        for effect, keys in EXPECTED.items()
        for known in keys
        if key == known or key.startswith(f"{known}.")
    ]
    return max(matching)[1]


class Plain:
    """Stands for a settled spec: only its plain values are looked at."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def model_dump(self, mode: str) -> dict[str, Any]:
        return self.values


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_changing_any_value_changes_exactly_the_hash_it_belongs_to(
    settled: Settled, facts: DataFacts, kind: str
) -> None:
    values = settled(**{**EVERYTHING, "optimizer": OPTIMIZERS[kind]}).model_dump(mode="json")
    before = convergence_hash(Plain(values), facts), execution_hash(Plain(values))  # type: ignore[arg-type]
    changed = {}
    for path, _ in leaves(values):
        other = Plain(with_leaf(values, path, "something else"))
        after = convergence_hash(other, facts), execution_hash(other)  # type: ignore[arg-type]
        changed[path] = tuple(new != old for new, old in zip(after, before))

    kinds = {"convergence": (True, False), "execution": (False, True), "data": (False, False)}
    assert changed == {path: kinds[expected_effect(path)] for path in changed}
    assert len(changed) > 80


MIXTRAL = "{{architecture: mixtral, config: {{num_attention_heads: 8, output_router_logits: {}}}}}"


@pytest.mark.parametrize(
    ("sections", "matters"),
    [
        ({}, False),
        ({"moe": "{experts: 4}"}, True),
        ({"moe": "{experts: 4, aux_loss_weight: 0}"}, False),
        ({"moe": "{experts: 4, aux_loss_weight: 0, drop_tokens: true}"}, True),
        ({"model": MIXTRAL.format("true")}, True),
        ({"model": MIXTRAL.format("false")}, False),
    ],
)
def test_micro_batches_matter_where_routers_look_at_them(
    settled: Settled, facts: DataFacts, sections: dict[str, str], matters: bool
) -> None:
    one = settled(batch="{global_batch_size: 8, micro_batch_size: 2}", **sections)
    other = settled(batch="{global_batch_size: 8, micro_batch_size: 4}", **sections)

    assert (convergence_hash(one, facts) != convergence_hash(other, facts)) == matters
    assert continuation_of("batch.micro_batch_size", one) == ("schedule" if matters else "free")


@pytest.mark.parametrize("name", ["fingerprint", "tokenizer_fingerprint"])
def test_other_data_is_another_run(settled: Settled, facts: DataFacts, name: str) -> None:
    spec = settled()

    assert convergence_hash(spec, facts) != convergence_hash(spec, replace(facts, **{name: "other"}))


def test_the_sizes_of_the_data_are_not_asked_twice(settled: Settled, facts: DataFacts) -> None:
    spec = settled()

    assert convergence_hash(spec, facts) == convergence_hash(spec, replace(facts, train_samples=7))


def test_a_hash_is_the_same_in_every_process_and_order(settled: Settled, facts: DataFacts) -> None:
    one = settled(model="{architecture: llama, config: {hidden_size: 64, num_attention_heads: 4}}")
    two = settled(model="{config: {num_attention_heads: 4, hidden_size: 64}, architecture: llama}")

    assert convergence_hash(one, facts) == convergence_hash(two, facts)
    assert len(convergence_hash(one, facts)) == 64


def test_every_section_of_a_spec_has_an_effect() -> None:
    assert all(effect_of(name) for name in RunSpec.model_fields)
    assert {key.partition(".")[0] for key in EFFECTS} == set(RunSpec.model_fields)


def test_the_longest_matching_key_decides() -> None:
    assert effect_of("model.attention") == "execution"
    assert effect_of("model.config.attention") == "convergence"
    assert effect_of("data.train") == "data"


@pytest.mark.parametrize("key", ["nothing", "nothing.at.all"])
def test_a_key_the_table_does_not_cover_is_an_error(key: str) -> None:
    with pytest.raises(KeyError):
        effect_of(key)
