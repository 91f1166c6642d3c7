"""The spec's own `deepspeed` block: laid over what is compiled, and refused where it would work against it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from zerotrain.compile.dsconfig import ZEROTRAIN, Section, Setting
from zerotrain.diagnostic import Diagnostic, Place, error

_HOMES: Mapping[str, str] = {
    "activation_checkpointing": "activation_checkpointing",
    "bfloat16": "precision",
    "compile": "compile.method",
    "expert_parallel": "parallel.ep",
    "optimizer": "optimizer",
    "pipeline": "parallel.pp",
    "scheduler": "schedule",
    "sequence_parallel_size": "parallel.sp",
    "tensor_parallel": "parallel.tp",
    "tensorboard": "monitor.tensorboard",
    "zero_optimization.cpu_offload": "zero.offload_optimizer",
    "zero_optimization.cpu_offload_param": "zero.offload_param",
    "zero_optimization.cpu_offload_use_pin_memory": "zero.offload_optimizer",
    "zero_optimization.offload_optimizer": "zero.offload_optimizer",
    "zero_optimization.offload_param": "zero.offload_param",
}
"""Keys that have a field, whether or not something is compiled from it: some are older names, some are read by one
target and not by another."""

_STAGE_3_PREFIX = "stage3_"
"""DeepSpeed reads some keys of `zero_optimization` with this prefix and without (runtime/zero/config.py)."""


def overwritten(section: Section, raw: Mapping[str, Any], prefix: str = "") -> Iterator[Diagnostic]:
    """Yields a finding for every raw key that has a field or is compiled already."""
    for key, value in raw.items():
        path, compiled = f"{prefix}{key}", section.get(key, section.get(f"{_STAGE_3_PREFIX}{key}"))
        if isinstance(compiled, dict) and isinstance(value, Mapping):
            yield from overwritten(compiled, value, f"{path}.")
        elif compiled is not None:
            yield _refused(path, compiled)
        elif path in _HOMES:
            yield _has_a_home(path, _HOMES[path])


def laid_over(section: Section, raw: Mapping[str, Any], source: str = "deepspeed") -> Section:
    """Returns the section with the raw keys added."""
    merged = dict(section)
    for key, value in raw.items():
        below, here = merged.get(key), f"{source}.{key}"
        if isinstance(value, Mapping):
            merged[key] = laid_over(below if isinstance(below, dict) else {}, value, here)
        else:
            merged[key] = Setting(value, here, "as written")
    return merged


def _refused(path: str, compiled: Setting | Section) -> Diagnostic:
    if not isinstance(compiled, Setting):
        message = f"`{path}` is a compiled section of keys, and cannot be replaced by a single value"
        return _finding(path, message, f"write the keys of `{path}` you need")
    if compiled.source == ZEROTRAIN:
        message = f"`{path}` is always {json.dumps(compiled.value)} in a run of zerotrain's: {compiled.why}"
        return _finding(path, message, "remove it here")
    return _has_a_home(path, compiled.source)


def _has_a_home(path: str, field: str) -> Diagnostic:
    return _finding(path, f"`{path}` is compiled from `{field}`", f"set `{field}` instead")


def _finding(path: str, message: str, help: str) -> Diagnostic:
    place = Place(key=f"deepspeed.{path}", is_about_key=True)
    return error("ZT310", "overwritten-key", message, help=help).at(place)
