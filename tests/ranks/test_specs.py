"""A spec without errors trains, and one with errors does not: drawn at random, checked, and run on real ranks."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from zerotrain.check.runner import check_file
from zerotrain.hardware.surroundings import Surroundings

SEED, CASES = 3, 24
SOUND: dict[str, list[dict[str, Any]]] = {
    "stage": [{"zero.stage": stage} for stage in (0, 1, 2, 3)],
    "precision": [{"precision": name} for name in ("fp32", "bf16", "autocast-bf16")],
    "optimizer": [
        {"optimizer": {"type": "adamw", "lr": 1e-3}},
        {"optimizer": {"type": "adam", "lr": 1e-3, "clip_norm": None}},
        {"optimizer": {"type": "sgd", "lr": 1e-2, "momentum": 0.9}},
        {"optimizer": {"type": "adagrad", "lr": 1e-2}},
        {"optimizer": {"type": "muon", "lr": 0.02, "adam_lr": 1e-3}},
        {"optimizer": {"type": "nadam", "lr": 1e-3}},
        {"optimizer": {"type": "radam", "lr": 1e-3}},
        {"optimizer": {"type": "rmsprop", "lr": 1e-3}},
        {"optimizer": {"type": "adamax", "lr": 1e-3}},
        {"optimizer": {"type": "adafactor", "lr": 1e-2}},
    ],
    "schedule": [
        *({"schedule": {"type": name}} for name in ("constant", "linear", "cosine", "polynomial", "one_cycle")),
        {"schedule": {"type": "wsd", "decay": "1 steps"}},
        {"schedule": {"type": "lr_range_test"}},
    ],
    "weights": [
        {},
        {"model.adapter": {"type": "lora", "rank": 2}},
        {"model.adapter": {"type": "dora", "rank": 2}},
        {"model.freeze": ["embed_tokens"]},
        {"optimizer.groups": [{"match": "lm_head", "lr": 1e-4}]},
        {"ema": {"decay": 0.9}},
    ],
    "batch": [
        {"batch": {"global_batch_size": 8, "micro_batch_size": 4}},
        {"batch": {"global_batch_size": 8, "micro_batch_size": 1, "gradient_accumulation_steps": "auto"}},
    ],
    "offload": [{}, {}, {"zero.offload_optimizer": {"device": "cpu"}}, {"zero.offload_param": {"device": "cpu"}}],
    "recompute": [{}, {"activation_checkpointing": "full"}],
    "packing": [{"data.packing": name} for name in ("isolated", "concat", "none")],
    "raw": [{}, {}, {"deepspeed": {"memory_breakdown": True}}, {"deepspeed": {"memory_brakdown": True}}],
}
MISTAKES: list[dict[str, Any]] = [
    {"zero.stag": 2},
    {"batch": {"global_batch_size": 7, "micro_batch_size": 2}},
    {"optimizer": {"type": "lion", "lr": 1e-4}},
    {"optimizer": {"type": "adamw", "lr": "1e-3"}},
    {"precision": "fp16"},
    {"model.config": {"hidden_size": 33, "num_attention_heads": 4}},
    {"deepspeed": {"elasticity": {}}},
    {"deepspeed": {"zero_optimization": {"stage": 1}}},
    {"deepspeed": {"fp16": {"loss_scal": 1}}},
    {"deepspeed": {"prescale_gradients": "auto"}, "zero.stage": 2, "zero.stge": 1},
    {"parallel": {"tp": 2}},
    {"model.freeze": ["no_such_weight"]},
    {"model.adapter": {"type": "lora", "target_modules": ["no_such_module"]}},
    {"task": {"type": "masked_lm"}},
    {"task": {"type": "image_classification"}},
    {"evaluation": {"early_stopping": {}}},
    {"schedule": {"type": "cosine", "warmup": "400 steps"}},
]


def drawn(number: int) -> tuple[dict[str, Any], int]:
    """Returns the changes of a case and its number of ranks; every third has a mistake in it."""
    luck = random.Random(f"{SEED} {number}")
    changes: dict[str, Any] = {"horizon": "2 steps"}
    for choices in SOUND.values():
        changes |= luck.choice(choices)
    if number % 3 == 2:
        changes |= luck.choice(MISTAKES)
    return changes, luck.choice((1, 2))


@pytest.mark.parametrize("number", range(CASES))
def test_a_spec_without_errors_and_only_such_a_spec_trains(train: Callable[..., Any], number: int) -> None:
    changes, size = drawn(number)

    result = train(changes, size, expect=None)

    directory = result.run.root.parents[1]
    found = check_file(directory / "spec.yaml", Surroundings(directory, directory), world_size=size)
    errors = [f"{finding.code} {finding.place.key}: {finding.message}" for finding in found if finding.is_error]
    assert (not errors) == (result.codes == [0] * size), f"{changes}\n{errors}\n{result.codes}\n{result.output}"


def test_no_case_is_drawn_twice() -> None:
    assert len({str(drawn(number)) for number in range(CASES)}) == CASES
