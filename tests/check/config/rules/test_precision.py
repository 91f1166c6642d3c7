"""DeepSpeed configs: number formats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zerotrain.check.config.rules.precision import DTYPES
from zerotrain.diagnostic import Diagnostic, Severity

Lint = Callable[..., list[Diagnostic]]

BF16 = {"bf16": {"enabled": True}}
FP16 = {"fp16": {"enabled": True}}
ADAMW = {"optimizer": {"type": "AdamW", "params": {"lr": 1e-4}}}


def found(findings: list[Diagnostic], code: str) -> list[Diagnostic]:
    return [finding for finding in findings if finding.code == code]


def stage(number: int, **more: Any) -> dict[str, Any]:
    return {"zero_optimization": {"stage": number, **more}}


def refusal(config: dict[str, Any]) -> str:
    from deepspeed.runtime.config import DeepSpeedConfig

    try:
        DeepSpeedConfig({"train_batch_size": 1, **config})
    except (AssertionError, ValueError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("section", ["bf16", "bfloat16"])
def test_zt220_two_formats(lint: Lint, section: str) -> None:
    config = {**FP16, section: {"enabled": True}}
    (finding,) = found(lint(config), "ZT220")

    assert (finding.name, finding.severity) == ("fp16-beside-bf16", Severity.ERROR)
    assert finding.place.key == "fp16.enabled"
    assert "cannot be simultaneously enabled" in refusal(config)
    assert not found(lint({**FP16, section: {"enabled": False}}), "ZT220")
    assert not found(lint({**FP16, section: {"enabled": "auto"}}, reader="hf"), "ZT220")


def test_zt220_the_old_name_does_not_count_beside_the_new_one(lint: Lint) -> None:
    config = {**FP16, "bf16": {"enabled": False}, "bfloat16": {"enabled": True}}

    assert not found(lint(config), "ZT220")
    assert not refusal(config)


def test_zt221_inputs_in_fp16_for_other_weights(lint: Lint) -> None:
    (finding,) = found(lint({"fp16": {"auto_cast": True}}), "ZT221")

    assert (finding.name, finding.severity) == ("auto-cast-without-fp16", Severity.WARNING)
    assert found(lint({**BF16, "fp16": {"auto_cast": True}}), "ZT221")
    assert not found(lint({"fp16": {"enabled": True, "auto_cast": True}}), "ZT221")
    assert not found(lint({"fp16": {"enabled": "auto", "auto_cast": True}}, reader="hf"), "ZT221")


def test_zt222_a_constant_loss_scale(lint: Lint) -> None:
    (finding,) = found(lint({"fp16": {"enabled": True, "loss_scale": 128}}), "ZT222")

    assert (finding.name, finding.severity) == ("static-loss-scale", Severity.INFO)
    assert not found(lint({"fp16": {"enabled": True, "loss_scale": 0}}), "ZT222")
    assert not found(lint({"fp16": {"enabled": False, "loss_scale": 128}}), "ZT222")


@pytest.mark.parametrize("key", ["loss_scale_window", "min_loss_scale"])
@pytest.mark.parametrize("value", [0, -1])
def test_zt223_bounds_of_the_dynamic_loss_scale(lint: Lint, key: str, value: int) -> None:
    config = {"fp16": {"enabled": True, key: value}}
    (finding,) = found(lint(config), "ZT223")

    assert (finding.name, finding.severity) == ("refused-loss-scaling", Severity.ERROR)
    assert finding.place.key == f"fp16.{key}"
    assert f"{key} must be > 0" in refusal(config)


@pytest.mark.parametrize("more", [{"enabled": False}, {"enabled": True, "loss_scale": 8}])
def test_zt223_unused_bounds_are_not_looked_at(lint: Lint, more: dict[str, Any]) -> None:
    config = {"fp16": {"min_loss_scale": 0, **more}}

    assert not found(lint(config), "ZT223")
    assert not refusal(config)


def test_zt224_a_loss_scale_that_is_never_lowered(lint: Lint) -> None:
    (finding,) = found(lint({"fp16": {"enabled": True, "hysteresis": 0}}), "ZT224")

    assert (finding.name, finding.severity) == ("stuck-loss-scale", Severity.WARNING)
    assert not found(lint({"fp16": {"enabled": True, "hysteresis": 1}}), "ZT224")
    assert not found(lint({"fp16": {"enabled": True}}), "ZT224")


def test_zt225_fp16_without_hardware(lint: Lint) -> None:
    (finding,) = found(lint(FP16, gpu="cpu"), "ZT225")

    assert (finding.name, finding.severity) == ("fp16-unsupported-by-hardware", Severity.ERROR)
    assert not found(lint(FP16, gpu="V100-SXM-32"), "ZT225")
    assert not found(lint(FP16), "ZT225")


def test_zt226_bf16_that_is_emulated(lint: Lint) -> None:
    (finding,) = found(lint(BF16, gpu="V100-SXM-32"), "ZT226")

    assert (finding.name, finding.severity) == ("emulated-bf16", Severity.WARNING)
    assert finding.place.key == "bf16.enabled"
    autocast = {"torch_autocast": {"enabled": True, "dtype": "bfloat16"}}
    assert found(lint(autocast, gpu="T4"), "ZT226")
    assert not found(lint(BF16, gpu="A100-SXM-80"), "ZT226")
    assert not found(lint(FP16, gpu="V100-SXM-32"), "ZT226")


@pytest.mark.parametrize(
    ("config", "wanted"),
    [(BF16, "fp32"), ({}, "bf16"), (FP16, "torch.float32"), ({"bfloat16": {"enabled": True}}, "float")],
)
def test_zt227_accumulation_in_another_format(lint: Lint, config: dict[str, Any], wanted: str) -> None:
    config = {**config, "data_types": {"grad_accum_dtype": wanted}}
    (finding,) = found(lint(config), "ZT227")

    assert (finding.name, finding.severity) == ("mixed-accumulation-without-zero", Severity.ERROR)
    assert finding.place.key == "data_types.grad_accum_dtype"
    assert not found(lint({**config, **stage(1)}), "ZT227")


def test_zt227_waits_for_what_a_framework_fills(lint: Lint) -> None:
    accumulation = {"data_types": {"grad_accum_dtype": "bf16"}}

    assert not found(lint({**accumulation, "bf16": {"enabled": "auto"}}, reader="hf"), "ZT227")
    assert not found(lint(accumulation, reader="accelerate"), "ZT227")
    assert not found(lint({**BF16, "data_types": {"grad_accum_dtype": "bfloat16"}}), "ZT227")
    assert not found(lint({**BF16, "data_types": {"grad_accum_dtype": "fp99"}}), "ZT227")


def test_zt228_two_opinions_about_the_weights(lint: Lint) -> None:
    (finding,) = found(lint({"data_types": {"param_dtype": "bf16"}}), "ZT228")

    assert (finding.name, finding.severity) == ("conflicting-param-dtype", Severity.ERROR)
    assert not found(lint({**BF16, "data_types": {"param_dtype": "bf16"}}), "ZT228")
    assert not found(lint({"data_types": {"param_dtype": "bf16"}}, reader="hf"), "ZT228")


def test_zt229_sums_in_bf16(lint: Lint) -> None:
    config = {**BF16, **stage(2), "gradient_accumulation_steps": 16}
    (finding,) = found(lint(config), "ZT229")

    assert (finding.name, finding.severity) == ("bf16-accumulation", Severity.INFO)
    assert finding.message == "gradients of 16 micro-batches are added up in bf16"
    assert found(lint({**BF16, **stage(2)}, world_size=8), "ZT229")
    assert not found(lint({**BF16, **stage(2)}), "ZT229")
    assert not found(lint({**config, "data_types": {"grad_accum_dtype": "fp32"}}), "ZT229")


MASTERS = {"bf16": {"enabled": True, "bf16_master_weights_and_grads": True}}
STATES = {"bf16": {**MASTERS["bf16"], "bf16_optimizer_states": True}}
HALF = {"fp16": {"enabled": True, "fp16_master_weights_and_grads": True}}
ON_HOST = {"offload_optimizer": {"device": "cpu"}}
TORCH_ADAM = {"optimizer": {"type": "AdamW", "params": {"torch_adam": True}}}


@pytest.mark.parametrize(
    "config",
    [
        {**MASTERS, **ADAMW},
        {**HALF, **ADAMW},
        {**STATES, **stage(0)},
        {"bf16": {"bf16_optimizer_states": True}, **stage(1)},
        {**MASTERS, "fp16": {"fp16_master_weights_and_grads": True}, **stage(2, **ON_HOST)},
        {**MASTERS, **ADAMW, **stage(1)},
        {**MASTERS, **stage(3)},
        {**HALF, **ADAMW, **stage(2)},
        {**MASTERS, **TORCH_ADAM, **stage(2, **ON_HOST)},
        {**STATES, **TORCH_ADAM, **stage(2, **ON_HOST)},
        {**MASTERS, "optimizer": {"type": "Adagrad"}, **stage(2, **ON_HOST)},
    ],
)
def test_zt230_sixteen_bit_masters_in_the_wrong_place(lint: Lint, config: dict[str, Any]) -> None:
    (finding,) = found(lint(config), "ZT230")

    assert (finding.name, finding.severity) == ("refused-sixteen-bit-masters", Severity.ERROR)


@pytest.mark.parametrize(
    "config",
    [
        {**BF16, **stage(1)},
        {**MASTERS, **ADAMW, **stage(2, **ON_HOST)},
        {**HALF, **ADAMW, **stage(3, **ON_HOST)},
        {**STATES, **ADAMW, **stage(1)},
        {**MASTERS, **ADAMW, **stage(1), "data_types": {"grad_accum_dtype": "fp32"}},
        {**MASTERS, **stage(2, **ON_HOST)},
        {**MASTERS, **stage(2, cpu_offload=True)},
    ],
)
def test_zt230_sixteen_bit_masters_that_work(lint: Lint, config: dict[str, Any]) -> None:
    assert not found(lint(config), "ZT230")
    assert not refusal(config)


def test_zt231_autocast_without_a_format(lint: Lint) -> None:
    (finding,) = found(lint({"torch_autocast": {"enabled": True}}), "ZT231")

    assert (finding.name, finding.severity) == ("autocast-without-dtype", Severity.WARNING)
    assert not found(lint({"torch_autocast": {"enabled": True, "dtype": "bf16"}}), "ZT231")
    assert not found(lint({"torch_autocast": {"enabled": False}}), "ZT231")


def test_zt232_autocast_that_casts_nothing(lint: Lint) -> None:
    (finding,) = found(lint({"torch_autocast": {"enabled": True, "dtype": "float32"}}), "ZT232")

    assert (finding.name, finding.severity) == ("idle-autocast", Severity.WARNING)
    assert not found(lint({"torch_autocast": {"enabled": True, "dtype": "half"}}), "ZT232")


def test_zt233_autocast_of_16_bit_weights(lint: Lint) -> None:
    autocast = {"torch_autocast": {"enabled": True, "dtype": "bf16"}}
    (finding,) = found(lint({**BF16, **autocast}), "ZT233")

    assert (finding.name, finding.severity) == ("autocast-beside-sixteen-bit", Severity.WARNING)
    assert not found(lint(autocast), "ZT233")


def test_zt234_zero_in_fp32(lint: Lint) -> None:
    (finding,) = found(lint(stage(2)), "ZT234")

    assert (finding.name, finding.severity) == ("zero-in-fp32", Severity.INFO)
    for said in (BF16, {"fp16": {"enabled": False}}, {"torch_autocast": {"enabled": True, "dtype": "bf16"}}):
        assert not found(lint({**stage(2), **said}), "ZT234")
    assert not found(lint(stage(2), reader="hf"), "ZT234")
    assert not found(lint({}), "ZT234")


def test_every_spelling_of_a_format_is_one_of_deepspeeds() -> None:
    from deepspeed.runtime.config import DtypeEnum

    spellings = {value: kind.name for kind in DtypeEnum for value in kind._all_values if isinstance(value, str)}
    assert spellings == DTYPES
