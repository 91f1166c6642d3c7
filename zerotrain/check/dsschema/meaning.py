"""What a DeepSpeed config comes to: one spelling for each key, and what the keys that are not written are worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zerotrain.check.dsschema.schema import Schema

_AUTOCAST_MODULES = ["torch.nn.Linear", "torch.nn.Conv1d", "torch.nn.Conv2d", "torch.nn.Conv3d"]
"""What `torch_autocast` runs in low precision when nothing is said (0.19.8: runtime/torch_autocast.py)."""

_SGD = {"lr": 1e-3, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}
"""torch's own defaults; DeepSpeed has no SGD of its own."""


def spelled(config: Mapping[str, Any], schema: Schema, path: str = "") -> dict[str, Any]:
    """Returns the config with each key under the name DeepSpeed has for it, whichever of its aliases is written."""
    known = schema.section(path)
    names = {alias: name for name, key in known.keys.items() for alias in key.aliases} if known else {}
    result: dict[str, Any] = {}
    for key, value in config.items():
        name = names.get(key, key)
        inside = f"{path}.{name}" if path else name
        result[name] = spelled(value, schema, inside) if isinstance(value, Mapping) else value
    return result


def is_read(key: str, schema: Schema) -> bool:
    """Tells whether DeepSpeed reads a dotted key; in a section whose keys are free, it reads all."""
    parts = key.split(".")
    for length in range(1, len(parts) + 1):
        path = ".".join(parts[:length])
        if path in schema.removed:
            return False
        known = schema.key(path)
        if known is None:
            return False
        if not known.section:
            return True
    return True


def implied(config: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """Returns what dotted keys are worth in a config in which they are not written; without those that are unknown."""
    return {**dict(_fixed(schema)), **_following(config), **dict(_params(config, schema))}


def _fixed(schema: Schema) -> Iterator[tuple[str, Any]]:
    for path, section in schema.sections.items():
        for name, key in section.keys.items():
            if key.default is not None and not key.section:
                default = list(key.default) if isinstance(key.default, tuple) else key.default
                yield f"{path}.{name}" if path else name, default


def _following(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the defaults that follow from other keys (0.19.8: runtime/engine.py, runtime/zero/config.py)."""
    dtype = "bf16" if _is_on(config, "bf16") else "fp16" if _is_on(config, "fp16") else "fp32"
    zero = _section(config, "zero_optimization")
    stage = zero.get("stage", 0)
    older = {"offload_optimizer": zero.get("cpu_offload"), "offload_param": zero.get("cpu_offload_param")}
    return {
        **{f"zero_optimization.{name}.device": "cpu" for name, offloads in older.items() if offloads is True},
        "data_types.grad_accum_dtype": dtype,
        "communication_data_type": dtype,
        "zero_optimization.overlap_comm": stage == 3,
        "torch_autocast.lower_precision_safe_modules": _AUTOCAST_MODULES,
    }


def _params(config: Mapping[str, Any], schema: Schema) -> Iterator[tuple[str, Any]]:
    optimizer, scheduler = _section(config, "optimizer"), _section(config, "scheduler")
    for name, signature in (
        ("optimizer", schema.optimizers.get(str(optimizer.get("type")).lower())),
        ("scheduler", schema.schedulers.get(str(scheduler.get("type")))),
    ):
        for parameter, default in signature.params.items() if signature else ():
            if default is not None:
                yield f"{name}.params.{parameter}", list(default) if isinstance(default, tuple) else default
    if str(optimizer.get("type")).lower() == "sgd":
        yield from ((f"optimizer.params.{parameter}", default) for parameter, default in _SGD.items())
    rate = _section(optimizer, "params").get("lr")
    if scheduler.get("type") == "WarmupLR" and rate is not None:
        yield "scheduler.params.warmup_max_lr", rate


def _is_on(config: Mapping[str, Any], name: str) -> bool:
    return _section(config, name).get("enabled") is True


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    return section if isinstance(section, Mapping) else {}
