"""DeepSpeed configs: checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from deepspeed.runtime.config import DeepSpeedConfig

from zerotrain.diagnostic import Diagnostic, Severity

Lint = Callable[..., list[Diagnostic]]

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


def only(findings: list[Diagnostic], code: str) -> list[tuple[Severity, str | None]]:
    return [(finding.severity, finding.place.key) for finding in findings if finding.code == code]


def checkpoint(**section: Any) -> dict[str, Any]:
    return {"train_micro_batch_size_per_gpu": 1, "checkpoint": section}


def refused(config: dict[str, Any]) -> None:
    with pytest.raises(Exception):  # noqa: B017 - three unrelated classes
        DeepSpeedConfig(config)


def test_zt722_the_mock_writer(lint: Lint) -> None:
    assert only(lint(checkpoint(writer={"type": "MOCK"})), "ZT722") == [(WARNING, "checkpoint.writer.type")]
    assert only(lint(checkpoint(writer={"type": "python"})), "ZT722") == []


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_zt723_a_writer_without_unit(lint: Lint, stage: int) -> None:
    config = {**checkpoint(writer={"type": "python"}), "zero_optimization": {"stage": stage}}
    assert only(lint(config), "ZT723") == [(ERROR, "checkpoint.writer")]
    assert only(lint({**config, "zero_optimization": {"stage": 3}}), "ZT723") == []
    assert only(lint(checkpoint(writer={"data_parallel": "replica"})), "ZT723") == []
    assert only(lint(checkpoint(writer=None)), "ZT723") == []


def test_zt724_the_fast_writer_without_a_gpu(lint: Lint) -> None:
    assert only(lint(checkpoint(writer={"type": "fast"}), gpu="cpu"), "ZT724") == [(ERROR, "checkpoint.writer.type")]
    assert only(lint(checkpoint(writer={}), gpu="cpu"), "ZT724") == [(ERROR, "checkpoint.writer")]
    assert only(lint(checkpoint(writer={"type": "python"}), gpu="cpu"), "ZT724") == []
    assert only(lint(checkpoint(writer={"type": "fast"})), "ZT724") == []


def test_zt726_universal_checkpoints(lint: Lint) -> None:
    assert only(lint(checkpoint(load_universal=True)), "ZT726") == [(INFO, "checkpoint.load_universal")]
    assert only(lint(checkpoint(load_universal=False)), "ZT726") == []


@pytest.mark.parametrize("section", [None, {"enabled": False}])
def test_zt727_datastates_that_is_not_off(lint: Lint, section: object) -> None:
    config = {"train_micro_batch_size_per_gpu": 1, "datastates_ckpt": section}
    assert only(lint(config), "ZT727") == [(WARNING, "datastates_ckpt")]
    assert only(lint(config, deepspeed="0.17.6"), "ZT727") == []
    assert DeepSpeedConfig(config).datastates_config.enabled


def test_zt727_datastates_that_is_meant(lint: Lint) -> None:
    assert only(lint({"datastates_ckpt": False}), "ZT727") == []
    assert only(lint({"datastates_ckpt": {"enabled": True}}), "ZT727") == []


@pytest.mark.parametrize("anything", [None, [1], "on", 7, {"writer": [1], "parallel_write": "x"}])
def test_anything_may_stand_there(lint: Lint, anything: object) -> None:
    lint({"checkpoint": anything, "datastates_ckpt": anything}, gpu="cpu")


def test_zt725_shards_that_nobody_writes(lint: Lint) -> None:
    config = {"tensor_parallel": {"autotp_size": 2}, "checkpoint": {"use_node_local_storage": True}}

    assert "ZT725" in [finding.code for finding in lint(config)]


@pytest.mark.parametrize(
    "config",
    [{"tensor_parallel": {"autotp_size": 2}}, {"checkpoint": {"use_node_local_storage": True}}],
)
def test_zt725_each_alone_is_fine(lint: Lint, config: dict[str, Any]) -> None:
    assert "ZT725" not in [finding.code for finding in lint(config)]


@pytest.mark.parametrize(("stage", "is_refused"), [(0, False), (1, True), (2, True), (3, False)])
def test_zt728_loading_is_pipelined_at_stage_3_only(lint: Lint, stage: int, is_refused: bool) -> None:
    config = {"zero_optimization": {"stage": stage, "pipeline_loading_checkpoint": True}}

    assert ("ZT728" in [finding.code for finding in lint(config)]) == is_refused
