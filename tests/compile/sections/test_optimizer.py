"""Every parameter DeepSpeed would otherwise choose itself is said, under DeepSpeed's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zerotrain.compile.resolve import Resolved
from zerotrain.compile.sections.optimizer import emit_clipping, emit_optimizer

Settled = Callable[..., Resolved]

WRITTEN = {
    "adam": "{type: adam, lr: 0.5, betas: [0.8, 0.9], eps: 1e-6, weight_decay: 0.1}",
    "adamw": "{type: adamw, lr: 0.5, betas: [0.8, 0.9], eps: 1e-6, weight_decay: 0.1}",
    "adagrad": "{type: adagrad, lr: 0.5, eps: 1e-6, weight_decay: 0.1}",
    "sgd": "{type: sgd, lr: 0.5, momentum: 0.9, nesterov: true, weight_decay: 0.1}",
    "lion": "{type: lion, lr: 0.5, betas: [0.8, 0.9], weight_decay: 0.1}",
    "lamb": "{type: lamb, lr: 0.5, betas: [0.8, 0.9], eps: 1e-6, weight_decay: 0.1, max_coeff: 5.0, min_coeff: 0.1}",
    "muon": "{type: muon, lr: 0.5, adam_lr: 0.25, momentum: 0.9, betas: [0.8, 0.9], eps: 1e-6, weight_decay: 0.1}",
    "nadam": "{type: nadam, lr: 0.5, betas: [0.8, 0.9], eps: 1e-6, weight_decay: 0.1, momentum_decay: 0.01}",
    "radam": "{type: radam, lr: 0.5, betas: [0.8, 0.9], eps: 1e-6, weight_decay: 0.1, decoupled_weight_decay: true}",
    "rmsprop": "{type: rmsprop, lr: 0.5, alpha: 0.9, eps: 1e-6, weight_decay: 0.1, momentum: 0.5, centered: true}",
    "adamax": "{type: adamax, lr: 0.5, betas: [0.8, 0.9], eps: 1e-6, weight_decay: 0.1}",
    "adafactor": "{type: adafactor, lr: 0.5, beta2_decay: -0.7, eps: [null, 0.01], d: 2.0, weight_decay: 0.1}",
}
ADAM = {"lr": 0.5, "weight_decay": 0.1, "betas": [0.8, 0.9], "eps": 1e-6}
COMPILED: dict[str, tuple[str, dict[str, Any]]] = {
    "adam": ("Adam", {**ADAM, "bias_correction": True, "adam_w_mode": False}),
    "adamw": ("AdamW", {**ADAM, "bias_correction": True, "adam_w_mode": True}),
    "adagrad": ("Adagrad", {"lr": 0.5, "weight_decay": 0.1, "eps": 1e-6}),
    "sgd": ("SGD", {"lr": 0.5, "weight_decay": 0.1, "momentum": 0.9, "nesterov": True, "dampening": 0.0}),
    "lion": ("Lion", {"lr": 0.5, "weight_decay": 0.1, "betas": [0.8, 0.9]}),
    "lamb": ("Lamb", {**ADAM, "max_coeff": 5.0, "min_coeff": 0.1, "bias_correction": True}),
    "muon": ("Muon", {**ADAM, "adam_lr": 0.25, "momentum": 0.9, "ns_method": "gram", "adam_w_mode": True}),
    "nadam": ("NAdam", {**ADAM, "momentum_decay": 0.01, "decoupled_weight_decay": False}),
    "radam": ("RAdam", {**ADAM, "decoupled_weight_decay": True}),
    "rmsprop": (
        "RMSprop",
        {"lr": 0.5, "weight_decay": 0.1, "alpha": 0.9, "eps": 1e-6, "momentum": 0.5, "centered": True},
    ),
    "adamax": ("Adamax", ADAM),
    "adafactor": ("Adafactor", {"lr": 0.5, "weight_decay": 0.1, "beta2_decay": -0.7, "eps": [None, 0.01], "d": 2.0}),
}
TESTED = ("adam", "adamw", "adagrad", "lion", "muon")


def values(section: Any) -> Any:
    return {key: values(entry) for key, entry in section.items()} if isinstance(section, dict) else section.value


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", WRITTEN)
def test_every_optimizer_at_every_stage(settled: Settled, kind: str, stage: int) -> None:
    emitted = values(emit_optimizer(settled(optimizer=WRITTEN[kind], zero=f"{{stage: {stage}}}")))
    name, params = COMPILED[kind]

    untested = {"zero_allow_untested_optimizer": True} if kind not in TESTED and stage > 0 else {}
    assert emitted == {"optimizer": {"type": name, "params": params}, **untested}


def test_what_is_off_is_left_out(settled: Settled) -> None:
    emitted = values(emit_optimizer(settled(optimizer="{type: muon, lr: 0.5, adam_lr: null}")))

    assert "adam_lr" not in emitted["optimizer"]["params"]
    assert None not in emitted["optimizer"]["params"].values()


@pytest.mark.parametrize(("norm", "value"), [("1.0", 1.0), ("0.3", 0.3), ("5", 5.0), ("null", 0.0)])
def test_no_clipping_is_said_with_a_zero(settled: Settled, norm: str, value: float) -> None:
    emitted = emit_clipping(settled(optimizer=f"{{type: adamw, lr: 1, clip_norm: {norm}}}"))

    assert values(emitted) == {"gradient_clipping": value}
