"""The optimizer, with every parameter that DeepSpeed would otherwise choose itself, and clipping."""

from __future__ import annotations

from zerotrain.compile.dsconfig import ZEROTRAIN, Section, Setting
from zerotrain.compile.resolve import Resolved
from zerotrain.spec.base import Spec

_TYPES = {
    "adam": "Adam",
    "adamw": "AdamW",
    "adagrad": "Adagrad",
    "sgd": "SGD",
    "lion": "Lion",
    "lamb": "Lamb",
    "muon": "Muon",
    "nadam": "NAdam",
    "radam": "RAdam",
    "rmsprop": "RMSprop",
    "adamax": "Adamax",
    "adafactor": "Adafactor",
}
"""DeepSpeed's own, and classes of `torch.optim`, in which it looks for what it does not know (runtime/engine.py)."""
_UNTESTED = ("sgd", "lamb", "nadam", "radam", "rmsprop", "adamax", "adafactor")
"""Optimizers DeepSpeed only runs under ZeRO when told that they are untested there (runtime/zero/utils.py)."""

_FIXED: dict[str, dict[str, tuple[object, str]]] = {
    "adam": {
        "bias_correction": (True, "as in the paper"),
        "adam_w_mode": (False, "without it DeepSpeed takes `Adam` for AdamW"),
    },
    "adamw": {"bias_correction": (True, "as in the paper"), "adam_w_mode": (True, "decoupled weight decay")},
    "sgd": {"dampening": (0.0, "plain momentum")},
    "lamb": {"bias_correction": (True, "as in the paper")},
    "muon": {"adam_w_mode": (True, "decoupled weight decay in the Adam part")},
}
_NOT_PARAMETERS = ("type", "clip_norm", "decay_norms_and_biases", "groups")
"""The last two become parameter groups (compile/sections/groups.py), which JSON cannot say."""


def emit_clipping(resolved: Resolved) -> Section:
    """Returns the clipping norm, which DeepSpeed sets to 1.0 when nothing is said."""
    norm = resolved.spec.optimizer.clip_norm
    why = "as written" if norm else "`null` does not clip"
    return {"gradient_clipping": Setting(norm or 0.0, "optimizer.clip_norm", why)}


def emit_optimizer(resolved: Resolved) -> Section:
    """Returns the optimizer."""
    optimizer = resolved.spec.optimizer
    section: Section = {
        "optimizer": {
            "type": Setting(_TYPES[optimizer.type], "optimizer.type", "DeepSpeed's name of it"),
            "params": _params(optimizer, optimizer.type),
        },
    }
    if optimizer.type in _UNTESTED and resolved.spec.zero.stage > 0:
        why = f"DeepSpeed refuses `{optimizer.type}` under ZeRO without it"
        section["zero_allow_untested_optimizer"] = Setting(True, "optimizer.type", why)
    return section


def _params(optimizer: Spec, kind: str) -> Section:
    written = {name: value for name, value in optimizer if name not in _NOT_PARAMETERS and value is not None}
    settings: Section = {
        name: Setting(list(value) if isinstance(value, tuple) else value, f"optimizer.{name}", "as written")
        for name, value in written.items()
    }
    for name, (value, why) in _FIXED.get(kind, {}).items():
        settings[name] = Setting(value, ZEROTRAIN, why)
    return settings
