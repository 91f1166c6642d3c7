"""DeepSpeed configs: data efficiency."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from deepspeed.runtime.config import DeepSpeedConfig
from deepspeed.runtime.data_pipeline.data_routing.scheduler import RandomLTDScheduler

from zerotrain.diagnostic import Diagnostic, Severity

Lint = Callable[..., list[Diagnostic]]

ERROR, WARNING = Severity.ERROR, Severity.WARNING

SAMPLING, ROUTING = "data_efficiency.data_sampling", "data_efficiency.data_routing"
CURRICULUM = {"enabled": True, "curriculum_metrics": {"seqlen": {}}}
DROPPING: dict[str, Any] = {
    "enabled": True,
    "total_layer_num": 24,
    "random_ltd_layer_num": 22,
    "random_ltd_schedule": {
        "min_value": 128,
        "max_value": 2048,
        "schedule_type": "fixed_linear",
        "schedule_config": {"require_steps": 100, "seq_per_step": 16},
    },
}


def only(findings: list[Diagnostic], code: str) -> list[tuple[Severity, str | None]]:
    return [(finding.severity, finding.place.key) for finding in findings if finding.code == code]


def sampling(**parts: Any) -> dict[str, Any]:
    return {"train_micro_batch_size_per_gpu": 1, "data_efficiency": {"data_sampling": parts}}


def routing(**random_ltd: Any) -> dict[str, Any]:
    return {"train_micro_batch_size_per_gpu": 1, "data_efficiency": {"data_routing": {"random_ltd": random_ltd}}}


@pytest.mark.parametrize("name", ["curriculum_learning", "dynamic_batching"])
def test_zt836_parts_without_what_they_need(lint: Lint, name: str) -> None:
    config = sampling(**{name: {"enabled": True}})
    assert only(lint(config), "ZT836") == [(ERROR, f"{SAMPLING}.{name}")]
    with pytest.raises(AssertionError, match="must be specified"):
        DeepSpeedConfig(deepcopy(config))


def test_zt836_parts_that_are_complete(lint: Lint) -> None:
    config = sampling(curriculum_learning=CURRICULUM, dynamic_batching={"enabled": True, "max_tokens": 9})
    assert only(lint(config), "ZT836") == []
    assert only(lint(sampling(curriculum_learning={"enabled": False})), "ZT836") == []
    DeepSpeedConfig(deepcopy(config))


@pytest.mark.parametrize("name", ["total_layer_num", "random_ltd_layer_num", "random_ltd_schedule"])
def test_zt836_token_dropping_without_its_layers(lint: Lint, name: str) -> None:
    left = {key: DROPPING[key] for key in DROPPING if key != name}
    assert only(lint(routing(**left)), "ZT836") == [(ERROR, f"{ROUTING}.random_ltd")]
    read = DeepSpeedConfig(deepcopy(routing(**left))).data_efficiency_config["data_routing"]["random_ltd"]
    with pytest.raises(KeyError, match=name):
        RandomLTDScheduler({**read, "global_batch_size": 1})


def test_zt836_token_dropping_with_half_a_schedule(lint: Lint) -> None:
    half = {**DROPPING, "random_ltd_schedule": {"min_value": 1}}
    assert only(lint(routing(**half)), "ZT836") == [(ERROR, f"{ROUTING}.random_ltd.random_ltd_schedule")]
    rated = {**DROPPING, "layer_token_lr_schedule": {"enabled": True}}
    assert only(lint(routing(**rated)), "ZT836") == [(ERROR, f"{ROUTING}.random_ltd.layer_token_lr_schedule.enabled")]
    assert only(lint(routing(**DROPPING)), "ZT836") == []


def test_zt837_an_outer_switch_that_is_not_read(lint: Lint) -> None:
    config = sampling(enabled=False, curriculum_learning=CURRICULUM)
    assert only(lint(config), "ZT837") == [(WARNING, f"{SAMPLING}.enabled")]
    config["data_efficiency"]["enabled"] = False
    assert {key for _, key in only(lint(config), "ZT837")} == {"data_efficiency.enabled", f"{SAMPLING}.enabled"}
    read = DeepSpeedConfig(deepcopy(config)).data_efficiency_config
    assert read["data_sampling"]["curriculum_learning"]["enabled"]
    assert only(lint(sampling(enabled=True, curriculum_learning=CURRICULUM)), "ZT837") == []


def test_zt838_nothing_is_on_inside(lint: Lint) -> None:
    assert only(lint({"data_efficiency": {"enabled": True}}), "ZT838") == [(WARNING, "data_efficiency.enabled")]
    config = sampling(curriculum_learning=CURRICULUM)
    config["data_efficiency"]["enabled"] = True
    assert only(lint(config), "ZT838") == []
    assert only(lint({"data_efficiency": {"enabled": False}}), "ZT838") == []


@pytest.mark.parametrize("reader", ["hf", "accelerate"])
def test_zt839_a_loader_that_knows_no_curriculum(lint: Lint, reader: str) -> None:
    config = sampling(curriculum_learning=CURRICULUM)
    assert only(lint(config, reader=reader), "ZT839") == [(WARNING, f"{SAMPLING}.curriculum_learning.enabled")]
    assert only(lint(config), "ZT839") == []
    assert only(lint(sampling(curriculum_learning={"enabled": False}), reader=reader), "ZT839") == []


@pytest.mark.parametrize("anything", [None, [1], "on", {"data_sampling": [1]}, {"data_routing": {"random_ltd": 3}}])
def test_anything_may_stand_there(lint: Lint, anything: object) -> None:
    lint({"data_efficiency": anything})
