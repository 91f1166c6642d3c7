"""DeepSpeed configs: DeepCompile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from deepspeed.runtime.config import DeepSpeedConfig
from pydantic import ValidationError

from zerotrain.diagnostic import Diagnostic, Severity

Lint = Callable[..., list[Diagnostic]]

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


def only(findings: list[Diagnostic], code: str) -> list[tuple[Severity, str | None]]:
    return [(finding.severity, finding.place.key) for finding in findings if finding.code == code]


def deep(stage: int = 1, *, zero: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    zero = {"stage": stage, **(zero or {})}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "compile": {"deepcompile": True, **more},
        "zero_optimization": zero,
    }


def test_zt831_compiling_needs_a_call(lint: Lint) -> None:
    assert only(lint(deep()), "ZT831") == [(INFO, "compile.deepcompile")]
    assert only(lint({"compile": {"deepcompile": False}}), "ZT831") == []


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (deep(0), "compile.deepcompile"),
        (deep(2, passes=["autosp"]), "compile.passes"),
        (deep(0, passes=["autotp"]), "compile.passes"),
    ],
)
def test_zt832_deepcompile_that_gives_way(lint: Lint, config: dict[str, Any], key: str) -> None:
    assert only(lint(config), "ZT832") == [(WARNING, key)]


@pytest.mark.parametrize("config", [deep(1), deep(3), deep(0, passes=["autosp"])])
def test_zt832_deepcompile_that_works(lint: Lint, config: dict[str, Any]) -> None:
    assert only(lint(config), "ZT832") == []
    folded = {**deep(0, passes=["autotp"]), "tensor_parallel": {"autotp_size": 2}}
    assert only(lint(folded), "ZT832") == []


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (deep(3, offload_activation=True, offload_parameters=True), "compile.offload_parameters"),
        (deep(3, offload_opt_states=True, zero={"offload_optimizer": {"device": "cpu"}}), "compile.offload_opt_states"),
        (deep(1, passes=["autotp", "z1"]), "compile.passes"),
    ],
)
def test_zt833_options_that_exclude_each_other(lint: Lint, config: dict[str, Any], key: str) -> None:
    assert only(lint(config), "ZT833") == [(ERROR, key)]
    assert only(lint(config, deepspeed="0.18.9"), "ZT833") == []


def test_zt833_options_that_combine(lint: Lint) -> None:
    for config in (
        deep(3, offload_opt_states=True, zero={"offload_optimizer": {"device": "none"}}),
        deep(1, offload_activation=True, offload_parameters=True),
    ):
        assert only(lint(config), "ZT833") == []


@pytest.mark.parametrize(
    "more",
    [
        {"zero_optimization": {"stage": 3}},
        {"zero_optimization": {"stage": 1, "offload_optimizer": {"device": "cpu"}}},
        {"tensor_parallel": {"autotp_size": 2}},
        {"expert_parallel": {"comm_backend": "deepep"}},
    ],
)
def test_zt834_compiling_around_experts(lint: Lint, more: dict[str, Any]) -> None:
    config = {"compile": {"autoep_non_moe": True}}
    assert only(lint({**config, **more}), "ZT834") == [(ERROR, "compile.autoep_non_moe")]
    assert only(lint(config), "ZT834") == []
    assert only(lint(deep(1, autoep_non_moe=True)), "ZT834") == [(ERROR, "compile.autoep_non_moe")]


@pytest.mark.parametrize(("name", "value"), [("offload_activation", True), ("passes", ["z1"])])
def test_zt835_options_while_it_is_off(lint: Lint, name: str, value: object) -> None:
    assert only(lint({"compile": {name: value}}), "ZT835") == [(WARNING, f"compile.{name}")]
    assert only(lint(deep(1, **{name: value})), "ZT835") == []
    assert only(lint({"compile": {"debug_log": False}}), "ZT835") == []


@pytest.mark.parametrize("anything", [None, [1], "on", {"deepcompile": True, "passes": 3}, {"passes": [None, {}]}])
def test_anything_may_stand_there(lint: Lint, anything: object) -> None:
    lint({"compile": anything})


def test_zt819_a_pass_that_does_not_exist(lint: Lint) -> None:
    config = {"train_batch_size": 2, "compile": {"deepcompile": True, "passes": ["z3", "z9"]}}

    assert [finding.code for finding in lint(config)].count("ZT819") == 1
    with pytest.raises(ValidationError):
        DeepSpeedConfig(config)


def test_zt819_the_passes_there_are(lint: Lint) -> None:
    config = {"train_batch_size": 2, "compile": {"deepcompile": True, "passes": ["z1", "z3", "autosp", "autotp"]}}

    assert "ZT819" not in [finding.code for finding in lint(config)]
    assert DeepSpeedConfig(config)
