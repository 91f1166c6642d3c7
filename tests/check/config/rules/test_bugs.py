"""DeepSpeed configs: known bugs, by version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from deepspeed.runtime.config import DeepSpeedConfig

from zerotrain.check.config.case import ConfigCase
from zerotrain.check.config.rules.bugs import gradients_of_zero_2
from zerotrain.check.dsschema.schema import schema_of
from zerotrain.diagnostic import Diagnostic, Severity

Lint = Callable[..., list[Diagnostic]]

WARNING, INFO = Severity.WARNING, Severity.INFO

OLD, NEW = "0.18.9", "0.19.8"


def only(findings: list[Diagnostic], code: str) -> list[tuple[Severity, str | None]]:
    return [(finding.severity, finding.place.key) for finding in findings if finding.code == code]


def zero(stage: int, **more: Any) -> dict[str, Any]:
    return {"train_micro_batch_size_per_gpu": 1, "zero_optimization": {"stage": stage, **more}}


@pytest.mark.parametrize(
    ("version", "is_bad"), [("0.17.5", False), ("0.17.6", True), ("0.18.2", True), ("0.18.3", False), (NEW, False)]
)
def test_zt940_versions_that_lose_gradients(version: str, is_bad: bool) -> None:
    config = {**zero(2), "gradient_accumulation_steps": 4}
    case = ConfigCase(config, schema=replace(schema_of(OLD), version=version))
    assert bool(list(gradients_of_zero_2.about_config(case))) == is_bad


def test_zt940_other_stages_and_one_micro_batch(lint: Lint) -> None:
    config = {**zero(2), "gradient_accumulation_steps": 4}
    assert only(lint(config, deepspeed="0.17.6"), "ZT940") == [(WARNING, "zero_optimization.stage")]
    assert only(lint({**config, **zero(1)}, deepspeed="0.17.6"), "ZT940") == []
    assert only(lint({**config, "gradient_accumulation_steps": 1}, deepspeed="0.17.6"), "ZT940") == []


@pytest.mark.parametrize("stage", [1, 2])
def test_zt941_overlap_below_stage_3(lint: Lint, stage: int) -> None:
    key = "zero_optimization.overlap_comm"
    assert only(lint(zero(stage, overlap_comm=True), deepspeed=OLD), "ZT941") == [(WARNING, key)]
    assert only(lint(zero(stage), deepspeed=OLD), "ZT941") == []
    assert only(lint(zero(3, overlap_comm=True), deepspeed=OLD), "ZT941") == []
    assert only(lint(zero(stage, overlap_comm=True), deepspeed=NEW), "ZT941") == []


def test_zt942_a_writer_that_cannot_read_back(lint: Lint) -> None:
    writer = {"checkpoint": {"writer": {"type": "python", "data_parallel": "replica"}}}
    assert only(lint({**zero(2), **writer}), "ZT942") == [(WARNING, "checkpoint.writer")]
    assert only(lint({**zero(0), **writer}), "ZT942") == []
    assert only(lint(zero(2)), "ZT942") == []


def test_zt943_a_profile_at_stage_3(lint: Lint) -> None:
    profiler = {"flops_profiler": {"enabled": True}}
    assert only(lint({**zero(3), **profiler}), "ZT943") == [(WARNING, "flops_profiler.enabled")]
    assert only(lint({**zero(2), **profiler}), "ZT943") == []
    assert only(lint({**zero(3), **profiler}, deepspeed=OLD), "ZT943") == []


def test_zt944_tuning_for_latency(lint: Lint) -> None:
    tuning = {"enabled": True, "metric": "latency"}
    assert only(lint({"autotuning": tuning}), "ZT944") == [(WARNING, "autotuning.metric")]
    assert only(lint({"autotuning": {**tuning, "metric": "throughput"}}), "ZT944") == []
    assert only(lint({"autotuning": {**tuning, "enabled": False}}), "ZT944") == []


@pytest.mark.parametrize("name", ["offload_optimizer", "offload_param"])
def test_zt945_a_secondary_partition_with_offload(lint: Lint, name: str) -> None:
    key = "zero_optimization.zero_hpz_partition_size"
    config = zero(3, zero_hpz_partition_size=8, **{name: {"device": "cpu"}})
    assert only(lint(config), "ZT945") == [(WARNING, key)]
    assert only(lint(zero(3, zero_hpz_partition_size=8)), "ZT945") == []
    assert only(lint(zero(3, **{name: {"device": "cpu"}})), "ZT945") == []


def test_zt946_deepcompile_at_stage_3(lint: Lint) -> None:
    assert only(lint({**zero(3), "compile": {"deepcompile": True}}), "ZT946") == [(INFO, "compile.deepcompile")]
    assert only(lint({**zero(1), "compile": {"deepcompile": True}}), "ZT946") == []


def test_zt947_presets_and_transformers(lint: Lint) -> None:
    experts = {"enabled": True, "autoep_size": 2, "preset_model": "mixtral"}
    assert only(lint({"expert_parallel": experts}), "ZT947") == [(INFO, "expert_parallel.preset_model")]
    assert only(lint({"expert_parallel": {**experts, "preset_model": "deepseek_v3"}}), "ZT947") == []
    assert only(lint({"expert_parallel": {**experts, "enabled": False}}), "ZT947") == []


@pytest.mark.parametrize("section", ["bf16", "bfloat16"])
def test_zt948_the_check_for_overflow(lint: Lint, section: str) -> None:
    config: dict[str, Any] = {"train_micro_batch_size_per_gpu": 1, section: {"enabled": True}}
    assert only(lint(config, deepspeed=OLD), "ZT948") == [(INFO, section)]
    assert only(lint(config), "ZT948") == []
    assert DeepSpeedConfig(config).bfloat16_config.check_grad_overflow
    config[section]["check_grad_overflow"] = False
    assert only(lint(config, deepspeed=OLD), "ZT948") == []


def test_zt949_clipping(lint: Lint) -> None:
    config = {"train_micro_batch_size_per_gpu": 1}
    assert only(lint(config, deepspeed=OLD), "ZT949") == [(INFO, "gradient_clipping")]
    assert only(lint(config), "ZT949") == []
    assert only(lint({**config, "gradient_clipping": 1.0}, deepspeed=OLD), "ZT949") == []
    assert DeepSpeedConfig(config).gradient_clipping == 1.0


def test_zt950_tensor_parallelism_that_the_config_does_not_start(lint: Lint) -> None:
    config = {"tensor_parallel": {"autotp_size": 2}}
    assert only(lint(config, deepspeed="0.17.6"), "ZT950") == [(WARNING, "tensor_parallel.autotp_size")]
    assert only(lint(config, deepspeed=OLD), "ZT950") == []
    assert only(lint({"tensor_parallel": {"autotp_size": 1}}, deepspeed="0.17.6"), "ZT950") == []


@pytest.mark.parametrize("anything", [None, [1], "on", {"stage": [3]}, {"enabled": "yes", "writer": {}}])
def test_anything_may_stand_there(lint: Lint, anything: object) -> None:
    sections = ("zero_optimization", "compile", "checkpoint", "bf16", "autotuning", "expert_parallel", "flops_profiler")
    for version in ("0.17.6", OLD, NEW):
        lint(dict.fromkeys((*sections, "gradient_accumulation_steps"), anything), deepspeed=version)


ADAGRAD = {"train_batch_size": 2, "bf16": {"enabled": True}, "optimizer": {"type": "Adagrad", "params": {"lr": 0.1}}}


def test_zt951_an_adagrad_that_cannot_be_saved(lint: Lint) -> None:
    assert "ZT951" in [finding.code for finding in lint(ADAGRAD)]


@pytest.mark.parametrize(
    "changes",
    [
        {"bf16": {"enabled": False}},
        {"zero_optimization": {"stage": 1}},
        {"optimizer": {"type": "SGD", "params": {"lr": 0.1}}},
    ],
)
def test_zt951_others_can_be_saved(lint: Lint, changes: dict[str, Any]) -> None:
    assert "ZT951" not in [finding.code for finding in lint({**ADAGRAD, **changes})]


@pytest.mark.parametrize(
    ("stage", "more", "is_refused"),
    [
        (0, {}, True),
        (0, {"prescale_gradients": True}, False),
        (1, {}, False),
        (1, {"reduce_scatter": False}, True),
        (3, {"reduce_scatter": False}, False),
    ],
)
def test_zt952_gradients_divided_by_zero(lint: Lint, stage: int, more: dict[str, bool], is_refused: bool) -> None:
    top = {name: value for name, value in more.items() if name == "prescale_gradients"}
    zero = {"stage": stage, **{name: value for name, value in more.items() if name not in top}}
    config = {"train_batch_size": 2, "gradient_predivide_factor": 0, "zero_optimization": zero, **top}

    assert ("ZT952" in [finding.code for finding in lint(config)]) == is_refused
