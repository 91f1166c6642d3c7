"""DeepSpeed configs: optimizer and clipping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zerotrain.check.config.case import ConfigCase
from zerotrain.check.config.rules.optimizer import (
    ONE_BIT_OPTIMIZERS,
    TESTED_WITH_ZERO,
    TORCH_OPTIMIZERS,
    adam_steps_at_start,
)
from zerotrain.check.dsschema.schema import schema_of
from zerotrain.diagnostic import Diagnostic, Severity

Lint = Callable[..., list[Diagnostic]]

ON_HOST = {"offload_optimizer": {"device": "cpu"}}


def found(findings: list[Diagnostic], code: str) -> list[Diagnostic]:
    return [finding for finding in findings if finding.code == code]


def config(kind: Any, params: Any = None, stage: int = 0, zero: Any = None, **more: Any) -> dict[str, Any]:
    optimizer = {"type": kind} if params is None else {"type": kind, "params": params}
    section = {"zero_optimization": {"stage": stage, **(zero or {})}} if stage or zero else {}
    return {"train_micro_batch_size_per_gpu": 1, "optimizer": optimizer, **section, **more}


@pytest.mark.parametrize("kind", ["sgd", "AdamWW", "lr_scheduler", "Optimizer", "FusedAdam", ""])
def test_zt127_optimizers_nobody_knows(lint: Lint, kind: str) -> None:
    (finding,) = found(lint(config(kind)), "ZT127")

    assert (finding.name, finding.severity) == ("unknown-optimizer", Severity.ERROR)
    assert finding.place.key == "optimizer.type"


@pytest.mark.parametrize("kind", ["OneBitAdam", "ZeroOneAdam", "OneBitLamb"])
def test_zt127_optimizers_that_are_gone(lint: Lint, kind: str) -> None:
    (finding,) = found(lint(config(kind)), "ZT127")

    assert finding.message == f"DeepSpeed 0.19.8 has no `{kind}` any more"
    assert kind.lower() in ONE_BIT_OPTIMIZERS


@pytest.mark.parametrize("kind", ["AdamW", "aDaM", "lamb", "MUON", "SGD", "RMSprop", 5, None])
def test_zt127_optimizers_that_are_known_or_no_names(lint: Lint, kind: Any) -> None:
    assert not found(lint(config(kind)), "ZT127")


def test_zt127_says_how_it_is_spelled(lint: Lint) -> None:
    assert found(lint(config("sgd")), "ZT127")[0].help == "did you mean `SGD`?"


def test_zt128_an_optimizer_without_a_type(lint: Lint) -> None:
    (finding,) = found(lint({"train_batch_size": 1, "optimizer": {"params": {"lr": 1e-4}}}), "ZT128")

    assert (finding.name, finding.severity) == ("optimizer-without-type", Severity.WARNING)
    assert not found(lint(config("AdamW")), "ZT128")
    assert not found(lint({"train_batch_size": 1}), "ZT128")


@pytest.mark.parametrize(
    ("kind", "name", "zero"),
    [
        ("AdamW", "max_grad_norm", None),
        ("Muon", "max_grad_norm", None),
        ("SGD", "max_grad_norm", None),
        ("AdamW", "momentum", None),
        ("AdamW", "foreach", None),
        ("AdamW", "adamw_mode", None),
        ("AdamW", "set_grad_none", ON_HOST),
        ("Lion", "eps", None),
        ("Lion", "fp32_optimizer_states", None),
        ("Adagrad", "lr_decay", ON_HOST),
        ("Adagrad", "fp32_optimizer_states", None),
        ("Lamb", "decay", None),
    ],
)
def test_zt129_parameters_that_are_refused(lint: Lint, kind: str, name: str, zero: Any) -> None:
    (finding,) = found(lint(config(kind, {name: 1}, 1, zero)), "ZT129")

    assert (finding.name, finding.severity) == ("refused-optimizer-param", Severity.ERROR)
    assert finding.place.key == f"optimizer.params.{name}"


@pytest.mark.parametrize(
    ("kind", "params", "zero"),
    [
        ("AdamW", {"lr": 1, "bias_correction": True, "set_grad_none": True, "fp32_optimizer_states": True}, None),
        ("AdamW", {"torch_adam": True, "foreach": False, "fused": False}, None),
        ("Lion", {"fp32_optimizer_states": True}, ON_HOST),
        ("Adagrad", {"lr_decay": 0.1}, None),
        ("SGD", {"momentum": 0.9, "anything": 1}, None),
        ("Muon", {"nesterov": True}, None),
    ],
)
def test_zt129_parameters_that_are_taken(lint: Lint, kind: str, params: dict[str, Any], zero: Any) -> None:
    assert not found(lint(config(kind, params, 1, zero)), "ZT129")


def test_zt129_torchs_adam_has_other_parameters(lint: Lint) -> None:
    (finding,) = found(lint(config("AdamW", {"torch_adam": True, "bias_correction": True})), "ZT129")

    assert finding.message == "`AdamW` does not take `bias_correction` with `torch_adam`"


def test_zt130_parameters_muon_drops(lint: Lint) -> None:
    (finding,) = found(lint(config("Muon", {"lr": 0.02, "nesterov": True, "momentum": 0.9})), "ZT130")

    assert (finding.name, finding.severity) == ("dropped-optimizer-param", Severity.WARNING)
    assert finding.place.key == "optimizer.params.nesterov"
    assert not found(lint(config("Muon", {"lr": 0.02, "muon_lr": 0.02, "adam_lr": 1e-3})), "ZT130")
    assert not found(lint(config("AdamW", {"nesterov": True})), "ZT130")


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("AdamW", "lr", None),
        ("SGD", "lr", [0.1]),
        ("AdamW", "eps", None),
        ("AdamW", "betas", [0.9]),
        ("AdamW", "betas", [0.9, 0.99, 0.999]),
        ("AdamW", "betas", 0.9),
        ("AdamW", "betas", None),
        ("AdamW", "amsgrad", True),
        ("Lamb", "amsgrad", True),
        ("Muon", "ns_method", "fast"),
    ],
)
def test_zt131_values_that_are_refused(lint: Lint, kind: str, name: str, value: Any) -> None:
    (finding,) = found(lint(config(kind, {name: value})), "ZT131")

    assert (finding.name, finding.severity) == ("refused-optimizer-value", Severity.ERROR)
    assert finding.place.key == f"optimizer.params.{name}"


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("AdamW", {"lr": 1, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0, "amsgrad": False}),
        ("AdamW", {"amsgrad": True, "torch_adam": True}),
        ("Muon", {"ns_method": "standard"}),
        ("Nonsense", {"lr": None}),
        ("AdamW", []),
    ],
)
def test_zt131_values_that_are_fine(lint: Lint, kind: str, params: Any) -> None:
    assert not found(lint(config(kind, params)), "ZT131")


def test_zt131_leaves_auto_to_frameworks(lint: Lint) -> None:
    filled = config("AdamW", {"lr": "auto", "betas": "auto", "eps": "auto", "weight_decay": "auto"})

    assert not found(lint(filled, reader="hf"), "ZT131")


def test_zt132_adam_and_adamw(lint: Lint) -> None:
    (finding,) = found(lint(config("Adam", {"weight_decay": 0.01})), "ZT132")
    (other,) = found(lint(config("AdamW", {"adam_w_mode": False})), "ZT132")

    assert (finding.name, finding.severity) == ("adam-means-adamw", Severity.WARNING)
    assert (finding.place.key, other.place.key) == ("optimizer.type", "optimizer.params.adam_w_mode")
    for params in ({}, {"weight_decay": 0}, {"weight_decay": 0.1, "adam_w_mode": False}, {"weight_decay": "auto"}):
        assert not found(lint(config("Adam", params), reader="hf"), "ZT132")
    assert not found(lint(config("AdamW", {"weight_decay": 0.1})), "ZT132")


@pytest.mark.parametrize("kind", ["SGD", "Lamb", "RAdam", "MuSGD"])
@pytest.mark.parametrize("reader", ["raw", "hf"])
def test_zt133_zero_with_other_optimizers(lint: Lint, kind: str, reader: str) -> None:
    (finding,) = found(lint(config(kind, stage=1), reader=reader), "ZT133")

    assert (finding.name, finding.severity) == ("untested-optimizer-with-zero", Severity.ERROR)
    assert not found(lint(config(kind)), "ZT133")
    assert not found(lint(config(kind, stage=1, zero_allow_untested_optimizer=True)), "ZT133")


def test_zt133_what_zero_takes() -> None:
    from deepspeed.runtime.zero.utils import ZERO_SUPPORTED_OPTIMIZERS

    names = {kind.__name__.lower() for kind in ZERO_SUPPORTED_OPTIMIZERS}
    for name in TESTED_WITH_ZERO:
        assert name.removeprefix("mu") in names or {f"fused{name}", f"deepspeedcpu{name}"} & names or name == "muon"
    assert "sgd" not in names
    assert not any("lamb" in name for name in names)


def test_zt134_lamb_without_a_dynamic_loss_scale(lint: Lint) -> None:
    (finding,) = found(lint(config("Lamb", fp16={"enabled": True, "loss_scale": 128})), "ZT134")

    assert (finding.name, finding.severity) == ("unusable-optimizer", Severity.ERROR)
    assert not found(lint(config("Lamb", fp16={"enabled": True, "loss_scale": 0})), "ZT134")
    assert not found(lint(config("Lamb", bf16={"enabled": True})), "ZT134")


def test_zt134_kernels_a_cpu_does_not_have(lint: Lint) -> None:
    assert found(lint(config("Lamb"), gpu="cpu"), "ZT134")
    assert found(lint(config("Lion"), gpu="cpu"), "ZT134")
    assert not found(lint(config("Lion", stage=1, zero=ON_HOST), gpu="cpu"), "ZT134")
    assert not found(lint(config("Lion"), gpu="H100-SXM"), "ZT134")
    assert not found(lint(config("Lion")), "ZT134")


def test_zt134_steps_the_engine_cannot_take(lint: Lint) -> None:
    fused = {"train_batch_size": 1, "optimizer": {"type": "Adam", "legacy_fusion": True}}

    assert found(lint(config("LBFGS")), "ZT134")
    assert found(lint({**fused, "fp16": {"enabled": True}}), "ZT134")[0].place.key == "optimizer.legacy_fusion"
    assert not found(lint(fused), "ZT134")
    assert not found(lint({**fused, "fp16": {"enabled": True}, "zero_optimization": {"stage": 1}}), "ZT134")


def test_zt135_muon_at_stage_3(lint: Lint) -> None:
    (finding,) = found(lint(config("Muon", stage=3)), "ZT135")

    assert (finding.name, finding.severity) == ("muon-with-reduce-scatter", Severity.ERROR)
    assert not found(lint(config("Muon", stage=3, zero={"reduce_scatter": False})), "ZT135")
    assert not found(lint(config("Muon", stage=2)), "ZT135")
    assert not found(lint(config("AdamW", stage=3)), "ZT135")


@pytest.mark.parametrize("section", ["fp16", "bf16"])
def test_zt136_a_step_before_training(lint: Lint, section: str) -> None:
    half = {section: {"enabled": True}}
    (finding,) = found(lint(config("Adam", **half)), "ZT136")

    assert (finding.name, finding.severity) == ("adam-steps-at-start", Severity.WARNING)
    assert not found(lint(config("Adam", stage=1, **half)), "ZT136")
    assert not found(lint(config("SGD", **half)), "ZT136")
    assert not found(lint(config("Adam")), "ZT136")
    assert not list(adam_steps_at_start.about_config(ConfigCase(config("Adam", **half), is_compiled=True)))


def test_zt137_zero_without_an_optimizer(lint: Lint) -> None:
    zero = {"train_batch_size": 1, "zero_optimization": {"stage": 2}}
    (finding,) = found(lint(zero), "ZT137")

    assert (finding.name, finding.severity) == ("missing-optimizer", Severity.INFO)
    assert not found(lint(zero, reader="hf"), "ZT137")
    assert not found(lint(config("AdamW", stage=2)), "ZT137")
    assert not found(lint({"train_batch_size": 1}), "ZT137")


def test_zt138_clipping_to_less_than_nothing(lint: Lint) -> None:
    (finding,) = found(lint({"train_batch_size": 1, "gradient_clipping": -1}), "ZT138")

    assert (finding.name, finding.severity) == ("negative-clipping", Severity.WARNING)
    for limit in (0, 0.0, 1.0, None, "-1"):
        assert not found(lint({"train_batch_size": 1, "gradient_clipping": limit}), "ZT138")


def test_zt139_clipping_that_is_not_mentioned(lint: Lint) -> None:
    from deepspeed.runtime.config import DeepSpeedConfig

    (finding,) = found(lint({"train_batch_size": 1}), "ZT139")

    assert (finding.name, finding.severity) == ("default-clipping", Severity.INFO)
    assert f"a norm of {DeepSpeedConfig({'train_batch_size': 1}).gradient_clipping}" in finding.message
    assert not found(lint({"train_batch_size": 1, "gradient_clipping": 0}), "ZT139")
    assert not found(lint({"train_batch_size": 1}, deepspeed="0.18.9"), "ZT139")


def test_the_optimizers_of_torch_are_those_it_has() -> None:
    import torch

    classes = {name: value for name, value in vars(torch.optim).items() if isinstance(value, type)}
    names = {name for name, value in classes.items() if issubclass(value, torch.optim.Optimizer)}
    assert names - {"Optimizer"} == set(TORCH_OPTIMIZERS)


def test_the_optimizers_of_deepspeed_are_those_of_the_snapshot() -> None:
    from deepspeed.runtime.config import DEEPSPEED_OPTIMIZERS

    assert set(schema_of().optimizers) == set(DEEPSPEED_OPTIMIZERS)


@pytest.mark.parametrize("value", [None, 5, "x", [1], {"type": [1], "params": 3}, {"params": {"": {}}}, 10**400])
def test_any_value_is_survived(lint: Lint, value: Any) -> None:
    for key in ("optimizer", "gradient_clipping", "fp16", "zero_optimization"):
        lint({"train_batch_size": 1, key: value})
    for name in ("lr", "betas", "ns_method", "weight_decay", "torch_adam"):
        for kind in ("Adam", "Muon"):
            lint(config(kind, {name: value}))
