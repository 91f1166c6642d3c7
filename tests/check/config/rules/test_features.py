"""DeepSpeed configs: what stands around training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from deepspeed.runtime.config import DeepSpeedConfig

from zerotrain.check.config.case import ConfigCase
from zerotrain.check.config.rules.features import idle_activation_checkpointing
from zerotrain.diagnostic import Diagnostic, Severity

Lint = Callable[..., list[Diagnostic]]

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO

ON_NVME = {"stage": 3, "offload_optimizer": {"device": "nvme", "nvme_path": "/local_nvme"}}


def only(findings: list[Diagnostic], code: str) -> list[tuple[Severity, str | None]]:
    return [(finding.severity, finding.place.key) for finding in findings if finding.code == code]


@pytest.mark.parametrize("reader", ["raw", "hf", "accelerate"])
@pytest.mark.parametrize("name", ["partition_activations", "cpu_checkpointing"])
def test_zt820_activation_checkpointing_that_nobody_applies(lint: Lint, name: str, reader: str) -> None:
    findings = lint({"activation_checkpointing": {name: True}}, reader=reader)

    assert only(findings, "ZT820") == [(WARNING, "activation_checkpointing")]
    (finding,) = [each for each in findings if each.code == "ZT820"]
    assert ("gradient_checkpointing" in (finding.help or "")) == (reader != "raw")


def test_zt820_nothing_in_it_is_on(lint: Lint) -> None:
    off = {"partition_activations": False, "cpu_checkpointing": False, "number_checkpoints": 4}
    assert only(lint({"activation_checkpointing": off}), "ZT820") == []
    compiled = ConfigCase({"activation_checkpointing": {"cpu_checkpointing": True}}, is_compiled=True)
    assert list(idle_activation_checkpointing.about_config(compiled)) == []


def test_zt821_a_contiguous_buffer_of_unknown_size(lint: Lint) -> None:
    section: dict[str, Any] = {"contiguous_memory_optimization": True}
    key = "activation_checkpointing.contiguous_memory_optimization"
    assert only(lint({"activation_checkpointing": section}), "ZT821") == [(WARNING, key)]
    section |= {"partition_activations": True}
    assert only(lint({"activation_checkpointing": section}), "ZT821") == [(WARNING, key)]
    section |= {"number_checkpoints": 4}
    assert only(lint({"activation_checkpointing": section}), "ZT821") == []


@pytest.mark.parametrize("name", ["wandb", "tensorboard", "comet"])
def test_zt823_packages_of_monitors(lint: Lint, name: str) -> None:
    assert only(lint({name: {"enabled": True}}), "ZT823") == [(INFO, f"{name}.enabled")]
    assert only(lint({name: {"enabled": False}}), "ZT823") == []
    assert only(lint({"csv_monitor": {"enabled": True}}), "ZT823") == []


def test_zt824_timers_that_are_left_on(lint: Lint) -> None:
    config = {"wall_clock_breakdown": True, "flops_profiler": {"enabled": True}}
    assert only(lint(config), "ZT824") == [(INFO, "wall_clock_breakdown"), (INFO, "flops_profiler.enabled")]
    assert only(lint({"wall_clock_breakdown": False, "flops_profiler": {"enabled": False}}), "ZT824") == []


@pytest.mark.parametrize("step", [None, "10", "auto", [5], {}])
def test_zt960_a_step_that_is_no_number(lint: Lint, step: object) -> None:
    profiler = {"enabled": True, "profile_step": step}
    assert only(lint({"flops_profiler": profiler}), "ZT960") == [(ERROR, "flops_profiler.profile_step")]
    assert only(lint({"flops_profiler": {**profiler, "enabled": False}}), "ZT960") == []
    assert only(lint({"flops_profiler": profiler, "autotuning": {"enabled": True}}), "ZT960") == []
    assert only(lint({"flops_profiler": {**profiler, "profile_step": 5}}), "ZT960") == []


@pytest.mark.parametrize("step", [-1, 2.5])
def test_zt825_a_step_that_never_comes(lint: Lint, step: float) -> None:
    profiler = {"enabled": True, "profile_step": step}
    assert only(lint({"flops_profiler": profiler}), "ZT825") == [(WARNING, "flops_profiler.profile_step")]
    assert only(lint({"flops_profiler": {**profiler, "enabled": False}}), "ZT825") == []
    assert only(lint({"flops_profiler": {**profiler, "profile_step": 5}}), "ZT825") == []


def test_zt826_autotuning_in_a_run(lint: Lint) -> None:
    findings = lint({"autotuning": {"enabled": True, "end_profile_step": 9}})
    assert only(findings, "ZT826") == [(WARNING, "autotuning.enabled")]
    assert "after step 10" in next(finding.message for finding in findings if finding.code == "ZT826")
    assert only(lint({"autotuning": {"enabled": False}}), "ZT826") == []


def test_zt827_gpudirect_storage_without_a_gpu(lint: Lint) -> None:
    config = {"train_micro_batch_size_per_gpu": 1, "aio": {"use_gds": True}}
    assert only(lint(config, gpu="cpu"), "ZT827") == [(ERROR, "aio.use_gds")]
    assert only(lint(config, gpu="H100-SXM"), "ZT827") == []
    assert only(lint(config), "ZT827") == []
    with pytest.raises(AssertionError, match="GDS"):
        DeepSpeedConfig(config)


@pytest.mark.parametrize("value", ["1MB", None, 1.5])
def test_zt828_numbers_of_asynchronous_io(lint: Lint, value: object) -> None:
    config = {"aio": {"block_size": value}, "zero_optimization": ON_NVME}
    assert only(lint(config), "ZT828") == [(ERROR, "aio.block_size")]
    assert only(lint({"aio": {"block_size": value}}), "ZT828") == []
    assert only(lint({**config, "aio": {"block_size": 1048576, "queue_depth": 8}}), "ZT828") == []


def test_zt829_quantization_that_belongs_to_inference(lint: Lint) -> None:
    assert only(lint({"weight_quantization": {"enabled": True}}), "ZT829") == [(WARNING, "weight_quantization")]
    config = {"weight_quantization": {"quantized_initialization": {"num_bits": 8}}, "zero_optimization": {"stage": 3}}
    assert only(lint(config), "ZT829") == []


def test_zt830_graphs_of_the_hybrid_engine(lint: Lint) -> None:
    engine = {"enabled": True, "enable_cuda_graph": True}
    config = {"hybrid_engine": engine, "zero_optimization": {"stage": 3}}
    assert only(lint(config), "ZT830") == [(WARNING, "hybrid_engine.enable_cuda_graph")]
    assert only(lint({"hybrid_engine": {**engine, "inference_tp_size": 2}}), "ZT830") != []
    assert only(lint({"hybrid_engine": engine}), "ZT830") == []


@pytest.mark.parametrize("anything", [None, [1], "on", 7, {"enabled": [True]}])
def test_anything_may_stand_there(lint: Lint, anything: object) -> None:
    sections = (
        "activation_checkpointing",
        "flops_profiler",
        "autotuning",
        "aio",
        "hybrid_engine",
        "wandb",
        "log_level",
    )
    lint(dict.fromkeys((*sections, "weight_quantization", "wall_clock_breakdown"), anything))


def test_zt822_the_hybrid_engine_has_no_kernels_for_processors(lint: Lint) -> None:
    config = {"hybrid_engine": {"enabled": True}}

    assert "ZT822" in [finding.code for finding in lint(config, gpu="cpu")]
    assert "ZT822" not in [finding.code for finding in lint(config, gpu="H100-SXM")]
    assert "ZT822" not in [finding.code for finding in lint(config)]
