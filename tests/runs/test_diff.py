"""Differences are grouped by what they act on, and what only looks different is none."""

from __future__ import annotations

from typing import Any

import pytest

from zerotrain.compile.compare import ABSENT
from zerotrain.runs.diff import (
    TOUCHES,
    Difference,
    config_differences,
    grouped,
    spec_differences,
    touched_by_config,
    touched_by_spec,
)
from zerotrain.runs.identity import EFFECTS, effect_of
from zerotrain.spec.run import RunSpec


@pytest.mark.parametrize("section", list(RunSpec.model_fields))
def test_every_section_of_a_spec_acts_on_something(section: str) -> None:
    assert touched_by_spec(section) in TOUCHES


@pytest.mark.parametrize("key", [key for key in EFFECTS if effect_of(key) == "convergence"])
def test_what_changes_the_loss_is_never_called_harmless(key: str) -> None:
    assert touched_by_spec(key) == "convergence"


@pytest.mark.parametrize(
    ("key", "touches"),
    [
        ("optimizer.lr", "convergence"),
        ("data.train[0].path", "convergence"),
        ("data.cache", "logging"),
        ("batch.micro_batch_size", "memory"),
        ("batch.global_batch_size", "convergence"),
        ("zero.stage", "memory"),
        ("zero.overlap_comm", "speed"),
        ("model.attention", "speed"),
        ("checkpoint.keep_last", "logging"),
        ("software.deepspeed", "convergence"),
    ],
)
def test_what_a_key_of_a_spec_acts_on(key: str, touches: str) -> None:
    assert touched_by_spec(key) == touches


@pytest.mark.parametrize(
    ("key", "touches"),
    [
        ("optimizer.params.lr", "convergence"),
        ("zero_optimization.stage", "memory"),
        ("zero_optimization.offload_optimizer.device", "memory"),
        ("zero_optimization.zero_quantized_weights", "convergence"),
        ("zero_optimization.overlap_comm", "speed"),
        ("steps_per_print", "logging"),
        ("a_key_of_tomorrow", "convergence"),
    ],
)
def test_what_a_key_of_deepspeed_s_acts_on(key: str, touches: str) -> None:
    assert touched_by_config(key) == touches


def test_only_what_differs_is_told() -> None:
    found = spec_differences({"seed": 1, "zero": {"stage": 1}, "name": "a"}, {"seed": 1, "zero": {"stage": 2}})

    assert found == [Difference("zero.stage", "memory", 1, 2), Difference("name", "logging", "a", ABSENT)]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({}, {}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": [1, {"b": 2}]}, {"a": [1.0, {"b": 2}]}),
        ({"a": 5}, {}),
        ({}, {"a": 5}),
        ({"b": {"c": True}}, {"b": {}}),
    ],
)
def test_what_means_the_same_is_no_difference(a: Any, b: Any) -> None:
    assert config_differences(a, b, {"a": 5, "b.c": True}, {"a": 5, "b.c": True}) == []


@pytest.mark.parametrize(
    ("a", "b", "keys"),
    [
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": 0}, {"a": None}, ["a"]),
        ({"a": [1, 2]}, {"a": [2, 1]}, ["a"]),
        ({"a": [1]}, {"a": [1, 2]}, ["a"]),
        ({"a": {}}, {}, ["a"]),
        ({"a": {}}, {"a": {"b": 1}}, ["a.b"]),
        ({"a": 1}, {"a": {"b": 1}}, ["a", "a.b"]),
    ],
)
def test_what_does_not_mean_the_same_is_a_difference(a: Any, b: Any, keys: list[str]) -> None:
    assert [difference.key for difference in config_differences(a, b)] == keys
    assert [difference.key for difference in config_differences(b, a)] == keys or set(keys) == {"a", "a.b"}


def test_micro_batches_act_on_memory_only_while_the_global_batch_is_given() -> None:
    micro = "train_micro_batch_size_per_gpu"

    assert config_differences({micro: 1}, {micro: 2})[0].touches == "convergence"
    with_total = ({"train_batch_size": 8, micro: size} for size in (1, 2))
    assert [(d.key, d.touches) for d in config_differences(*with_total)] == [(micro, "memory")]


def test_groups_come_with_the_weightiest_first() -> None:
    found = config_differences(
        {"steps_per_print": 1, "zero_optimization": {"stage": 1, "overlap_comm": True}, "optimizer": {"type": "Lion"}},
        {},
    )

    assert [touches for touches, _ in grouped(found)] == ["convergence", "memory", "speed", "logging"]


def test_the_json_of_a_difference_leaves_out_the_side_where_it_is_absent() -> None:
    assert Difference("a", "speed", None, ABSENT).as_json() == {"key": "a", "touches": "speed", "a": None}
