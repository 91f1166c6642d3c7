"""DeepSpeed configs: the scheduler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zerotrain.check.config.rules.schedule import TORCH_SCHEDULERS
from zerotrain.check.dsschema.schema import schema_of
from zerotrain.diagnostic import Diagnostic, Severity

Lint = Callable[..., list[Diagnostic]]

READERS = ("raw", "hf", "accelerate")


def found(findings: list[Diagnostic], code: str) -> list[Diagnostic]:
    return [finding for finding in findings if finding.code == code]


def config(kind: Any, params: Any = None, lr: Any = 1e-3, **more: Any) -> dict[str, Any]:
    scheduler = {"type": kind} if params is None else {"type": kind, "params": params}
    optimizer = {"type": "AdamW", "params": {"lr": lr}}
    return {"train_micro_batch_size_per_gpu": 1, "optimizer": optimizer, "scheduler": scheduler, **more}


def refusal(kind: str, params: dict[str, Any]) -> str:
    """Builds a scheduler of DeepSpeed and returns what it says."""
    import torch
    from deepspeed.runtime import lr_schedules

    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    try:
        getattr(lr_schedules, kind)(optimizer, **params)
    except (TypeError, ValueError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", ["warmuplr", "WarmupCosineSchedule", "cosine", "CosineAnnealing", "LRScheduler"])
@pytest.mark.parametrize("reader", READERS)
def test_zt140_schedulers_nobody_knows(lint: Lint, kind: str, reader: str) -> None:
    (finding,) = found(lint(config(kind, {}), reader=reader), "ZT140")

    assert (finding.name, finding.severity) == ("unknown-scheduler", Severity.ERROR)
    assert finding.place.key == "scheduler.type"


@pytest.mark.parametrize("kind", ["WarmupLR", "OneCycle", "CosineAnnealingLR", None])
def test_zt140_schedulers_that_are_known_or_absent(lint: Lint, kind: Any) -> None:
    assert not found(lint(config(kind, {})), "ZT140")


@pytest.mark.parametrize("kind", [5, [], {}, False])
def test_zt140_a_scheduler_that_is_no_name(lint: Lint, kind: Any) -> None:
    assert [finding.place.key for finding in found(lint(config(kind, {})), "ZT140")] == ["scheduler.type"]


def test_zt140_says_how_it_is_spelled(lint: Lint) -> None:
    assert found(lint(config("warmuplr", {})), "ZT140")[0].help == "did you mean `WarmupLR`?"


def test_zt141_a_scheduler_without_params(lint: Lint) -> None:
    (finding,) = found(lint(config("WarmupLR")), "ZT141")

    assert (finding.name, finding.severity) == ("missing-scheduler-params", Severity.ERROR)
    assert finding.message == "`WarmupLR` has no `params`"
    assert not found(lint(config("WarmupLR", {})), "ZT141")
    assert not found(lint({"train_batch_size": 1, "scheduler": {}}), "ZT141")


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("WarmupDecayLR", ["total_num_steps"]),
        ("WarmupCosineLR", ["total_num_steps"]),
        ("OneCycle", ["cycle_min_lr", "cycle_max_lr"]),
    ],
)
def test_zt141_params_a_scheduler_needs(lint: Lint, kind: str, missing: list[str]) -> None:
    findings = found(lint(config(kind, {})), "ZT141")

    assert [finding.message for finding in findings] == [f"`{kind}` needs `{name}`" for name in missing]
    assert "missing" in refusal(kind, {})
    assert not found(lint(config(kind, dict.fromkeys(missing, "auto")), reader="hf"), "ZT141")


@pytest.mark.parametrize(
    ("kind", "name"),
    [("WarmupLR", "total_num_steps"), ("WarmupCosineLR", "warmup_max_lr"), ("LRRangeTest", "warmup_num_steps")],
)
def test_zt142_params_a_scheduler_does_not_take(lint: Lint, kind: str, name: str) -> None:
    (finding,) = found(lint(config(kind, {name: 1})), "ZT142")

    assert (finding.name, finding.severity) == ("refused-scheduler-param", Severity.ERROR)
    assert finding.place.key == f"scheduler.params.{name}"
    assert "unexpected keyword" in refusal(kind, {name: 1})
    assert not found(lint(config("StepLR", {"step_size": 1})), "ZT142")
    assert not found(lint(config("WarmupLR", {"last_batch_iteration": 0})), "ZT142")


CYCLE = {"cycle_min_lr": 1e-4, "cycle_max_lr": 1e-3}


@pytest.mark.parametrize(
    ("kind", "params", "name"),
    [
        ("WarmupLR", {}, "warmup_num_steps=0"),
        ("WarmupLR", {}, "warmup_num_steps=10.5"),
        ("WarmupLR", {}, "warmup_num_steps=None"),
        ("WarmupLR", {}, "warmup_min_lr=None"),
        ("WarmupCosineLR", {"total_num_steps": 10}, "warmup_num_steps=-1"),
        ("WarmupDecayLR", {}, "total_num_steps=None"),
        ("OneCycle", CYCLE, "cycle_first_step_size=0"),
        ("OneCycle", CYCLE, "cycle_second_step_size=-1"),
        ("LRRangeTest", {}, "lr_range_test_step_size=0"),
        ("LRRangeTest", {}, "lr_range_test_step_size=2.5"),
    ],
)
def test_zt143_values_a_scheduler_refuses(lint: Lint, kind: str, params: dict[str, Any], name: str) -> None:
    key, _, value = name.partition("=")
    given = {**params, key: None if value == "None" else float(value) if "." in value else int(value)}
    (finding,) = found(lint(config(kind, given)), "ZT143")

    assert (finding.name, finding.severity) == ("refused-scheduler-value", Severity.ERROR)
    assert finding.place.key == f"scheduler.params.{key}"
    assert refusal(kind, given)


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("WarmupLR", {"warmup_num_steps": 1, "warmup_max_lr": None}),
        ("WarmupDecayLR", {"total_num_steps": 10.5, "warmup_num_steps": 2}),
        ("OneCycle", {**CYCLE, "cycle_second_step_size": 0, "cycle_momentum": False}),
        ("LRRangeTest", {"lr_range_test_min_lr": 0.1}),
        ("WarmupLR", {"warmup_min_lr": [0.0]}),
    ],
)
def test_zt143_values_a_scheduler_takes(lint: Lint, kind: str, params: dict[str, Any]) -> None:
    assert not found(lint(config(kind, params)), "ZT143")
    assert not refusal(kind, params)


def test_zt143_a_whole_number_with_a_point_is_one_in_hjson_only(lint: Lint) -> None:
    given = config("WarmupLR", {"warmup_num_steps": 10.0})

    assert found(lint(given, reader="hf"), "ZT143")
    assert not found(lint(given, reader="raw"), "ZT143")


@pytest.mark.parametrize("more", [{"zero_optimization": {"stage": 1}}, {"bf16": {"enabled": True}}])
def test_zt144_torch_schedulers_on_a_wrapper(lint: Lint, more: dict[str, Any]) -> None:
    (finding,) = found(lint(config("CosineAnnealingLR", {"T_max": 10}, **more)), "ZT144")

    assert (finding.name, finding.severity) == ("torch-scheduler-on-wrapper", Severity.ERROR)
    assert not found(lint(config("CosineAnnealingLR", {"T_max": 10})), "ZT144")
    assert not found(lint(config("WarmupLR", {}, **more)), "ZT144")


@pytest.mark.parametrize(
    ("kind", "params", "name"),
    [
        ("WarmupLR", {"warmup_type": "cosine"}, "warmup_type"),
        ("WarmupLR", {"warmup_min_lr": 0.1, "warmup_max_lr": 0.01}, "warmup_min_lr"),
        ("OneCycle", {"cycle_min_lr": 0.1, "cycle_max_lr": 0.01}, "cycle_min_lr"),
        ("WarmupCosineLR", {"total_num_steps": 5000, "cos_min_ratio": 2}, "cos_min_ratio"),
    ],
)
def test_zt145_schedules_that_run_otherwise(lint: Lint, kind: str, params: dict[str, Any], name: str) -> None:
    (finding,) = found(lint(config(kind, params)), "ZT145")

    assert (finding.name, finding.severity) == ("odd-schedule", Severity.WARNING)
    assert finding.place.key == f"scheduler.params.{name}"
    assert not refusal(kind, params)


def test_zt145_schedules_that_run_as_they_read(lint: Lint) -> None:
    params = {"warmup_type": "linear", "warmup_min_lr": 0, "warmup_max_lr": 1e-3}

    assert not found(lint(config("WarmupLR", params)), "ZT145")
    assert not found(lint(config("StepLR", {"warmup_type": "cosine"})), "ZT145")


def test_zt146_a_warmup_that_does_not_end(lint: Lint) -> None:
    (finding,) = found(lint(config("WarmupDecayLR", {"total_num_steps": 10, "warmup_num_steps": 100})), "ZT146")
    (default,) = found(lint(config("WarmupCosineLR", {"total_num_steps": 500})), "ZT146")

    assert (finding.name, finding.severity) == ("warmup-longer-than-training", Severity.WARNING)
    assert finding.place.key == "scheduler.params.warmup_num_steps"
    assert default.message == "a warm-up of 1000 steps does not end within `total_num_steps` 500"
    assert not found(lint(config("WarmupDecayLR", {"total_num_steps": 100, "warmup_num_steps": 10})), "ZT146")
    assert not found(lint(config("WarmupDecayLR", {"total_num_steps": "auto"}), reader="hf"), "ZT146")


def test_zt147_the_rate_of_the_scheduler_wins(lint: Lint) -> None:
    (finding,) = found(lint(config("WarmupLR", {"warmup_max_lr": 3e-4}, lr=1e-5)), "ZT147")
    (default,) = found(lint(config("WarmupDecayLR", {"total_num_steps": 9000}, lr=1e-5)), "ZT147")

    assert (finding.name, finding.severity) == ("overridden-learning-rate", Severity.WARNING)
    assert finding.place.key == "scheduler.params.warmup_max_lr"
    assert default.message == "`WarmupDecayLR` climbs to 0.001, not to the optimizer's `lr` 1e-05"
    assert not found(lint(config("WarmupLR", {"warmup_max_lr": 1e-5}, lr=1e-5)), "ZT147")
    assert not found(lint(config("WarmupLR", {}, lr=1e-5)), "ZT147")
    assert not found(lint(config("WarmupCosineLR", {"total_num_steps": 9000}, lr=1e-5)), "ZT147")
    assert not found(lint(config("WarmupLR", {"warmup_max_lr": "auto"}, lr=1e-5), reader="hf"), "ZT147")


def test_zt148_two_rates_for_the_trainer(lint: Lint) -> None:
    two = config("WarmupLR", {"warmup_max_lr": 3e-4}, lr=1e-5)
    (finding,) = found(lint(two, reader="hf"), "ZT148")

    assert (finding.name, finding.severity) == ("learning-rates-hf-refuses", Severity.ERROR)
    assert not found(lint(two, reader="hf"), "ZT147")
    assert not found(lint(two, reader="raw"), "ZT148")
    assert not found(lint(two, reader="accelerate"), "ZT148")
    assert not found(lint(config("WarmupLR", {"warmup_max_lr": 1e-5}, lr="auto"), reader="hf"), "ZT148")


def test_zt149_a_warmup_the_trainer_leaves_at_0(lint: Lint) -> None:
    (finding,) = found(lint(config("WarmupLR", {"warmup_num_steps": "auto"}), reader="hf"), "ZT149")

    assert (finding.name, finding.severity) == ("trainer-without-warmup", Severity.INFO)
    assert not found(lint(config("WarmupLR", {"warmup_num_steps": "auto"}), reader="accelerate"), "ZT149")
    assert not found(lint(config("WarmupLR", {"warmup_num_steps": 10}), reader="hf"), "ZT149")


def test_the_schedulers_of_torch_are_those_it_has() -> None:
    import torch.optim.lr_scheduler as schedulers

    classes = {name: value for name, value in vars(schedulers).items() if isinstance(value, type)}
    names = {name for name, value in classes.items() if issubclass(value, schedulers.LRScheduler)}
    assert names - {"LRScheduler", "_LRScheduler"} == set(TORCH_SCHEDULERS)


def test_the_schedulers_of_deepspeed_are_those_of_the_snapshot() -> None:
    from deepspeed.runtime.lr_schedules import VALID_LR_SCHEDULES

    assert set(schema_of().schedulers) == set(VALID_LR_SCHEDULES)


@pytest.mark.parametrize("value", [None, 5, "x", [1], {"type": [1], "params": 3}, {"params": {"": {}}}, 10**400])
def test_any_value_is_survived(lint: Lint, value: Any) -> None:
    lint({"train_batch_size": 1, "scheduler": value})
    for kind in schema_of().schedulers:
        for name in schema_of().schedulers[kind].params:
            lint(config(kind, {name: value}, lr=value))
