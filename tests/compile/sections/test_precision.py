"""Number formats: every section is said, so that none is left to a default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zerotrain.compile.resolve import Resolved
from zerotrain.compile.sections.precision import emit_precision

Settled = Callable[..., Resolved]

OFF = {"enabled": False}
BF16 = {
    "enabled": True,
    "immediate_grad_update": False,
    "check_grad_overflow": True,
    "bf16_master_weights_and_grads": False,
    "bf16_optimizer_states": False,
}
FP16 = {
    "enabled": True,
    "auto_cast": False,
    "loss_scale": 0.0,
    "initial_scale_power": 16,
    "loss_scale_window": 1000,
    "hysteresis": 2,
    "consecutive_hysteresis": False,
    "min_loss_scale": 1,
    "fp16_master_weights_and_grads": False,
}
AUTOCAST = {
    "enabled": True,
    "dtype": "bf16",
    "lower_precision_safe_modules": [
        "torch.nn.Linear",
        "torch.nn.Conv1d",
        "torch.nn.Conv2d",
        "torch.nn.Conv3d",
    ],
}


def values(section: Any) -> Any:
    return {key: values(entry) for key, entry in section.items()} if isinstance(section, dict) else section.value


def precision(settled: Settled, written: str, stage: int = 1) -> dict[str, Any]:
    return values(emit_precision(settled(precision=written, zero=f"{{stage: {stage}}}")))


@pytest.mark.parametrize(
    ("written", "fp16", "bf16", "autocast"),
    [
        ("fp32", OFF, OFF, OFF),
        ("bf16", OFF, BF16, OFF),
        ("fp16", FP16, OFF, OFF),
        ("autocast-bf16", OFF, OFF, AUTOCAST),
    ],
)
def test_exactly_one_format_is_on(
    settled: Settled, written: str, fp16: dict[str, Any], bf16: dict[str, Any], autocast: dict[str, Any]
) -> None:
    emitted = precision(settled, written)

    assert (emitted["fp16"], emitted["bf16"], emitted["torch_autocast"]) == (fp16, bf16, autocast)
    assert (emitted["data_types"], emitted["communication_data_type"]) == ({"grad_accum_dtype": "fp32"}, "fp32")


@pytest.mark.parametrize(
    ("written", "changed"),
    [
        ("{dtype: fp16, loss_scale: 1024}", {"loss_scale": 1024.0}),
        ("{dtype: fp16, loss_scale: 1.5}", {"loss_scale": 1.5}),
        ("{dtype: fp16, loss_scale: {}}", {}),
        ("{dtype: fp16, loss_scale: null}", {}),
        (
            "{dtype: fp16, loss_scale: {initial_scale_power: 0, window: 7, hysteresis: 3, min_scale: 2}}",
            {"initial_scale_power": 0, "loss_scale_window": 7, "hysteresis": 3, "min_loss_scale": 2},
        ),
    ],
)
def test_a_loss_scale_is_fixed_or_dynamic(settled: Settled, written: str, changed: dict[str, Any]) -> None:
    assert precision(settled, written)["fp16"] == {**FP16, **changed}


@pytest.mark.parametrize(
    ("written", "stage", "accumulated", "communicated"),
    [
        ("bf16", 0, "bf16", "bf16"),
        ("fp16", 0, "fp16", "fp16"),
        ("fp32", 0, "fp32", "fp32"),
        ("autocast-bf16", 0, "fp32", "fp32"),
        ("bf16", 3, "fp32", "fp32"),
        ("{dtype: bf16, grad_accum_dtype: bf16}", 2, "bf16", "bf16"),
        ("{dtype: bf16, communication_dtype: bf16}", 2, "fp32", "bf16"),
    ],
)
def test_gradients_are_accumulated_and_sent_in_what_was_settled(
    settled: Settled, written: str, stage: int, accumulated: str, communicated: str
) -> None:
    emitted = precision(settled, written, stage)

    assert emitted["data_types"] == {"grad_accum_dtype": accumulated}
    assert emitted["communication_data_type"] == communicated
