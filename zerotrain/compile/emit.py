"""The compiler: a settled spec to the configuration DeepSpeed reads. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zerotrain.compile.dsconfig import DeepSpeedConfig, Section, Setting, Target
from zerotrain.compile.resolve import Resolved
from zerotrain.compile.sections.batch import emit_batch
from zerotrain.compile.sections.optimizer import emit_clipping, emit_optimizer
from zerotrain.compile.sections.precision import emit_precision
from zerotrain.compile.sections.rest import emit_activation_checkpointing, emit_housekeeping, emit_monitors
from zerotrain.compile.sections.schedule import emit_schedule
from zerotrain.compile.sections.zero import emit_zero
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import SpecError

Emitter = Callable[[Resolved], Section]

_ALWAYS: tuple[Emitter, ...] = (
    emit_batch,
    emit_clipping,
    emit_precision,
    emit_zero,
    emit_activation_checkpointing,
    emit_housekeeping,
)
_EMITTERS: Mapping[Target, tuple[Emitter, ...]] = {
    # Our loop sets the learning rate and writes the events.
    "zerotrain": (*_ALWAYS, emit_optimizer),
    "deepspeed": (*_ALWAYS, emit_optimizer, emit_schedule, emit_monitors),
    # HF Trainer compares optimizer and scheduler with its own arguments and refuses a difference.
    "hf": (*_ALWAYS, emit_optimizer, emit_schedule),
    # An Accelerate script brings its own optimizer and scheduler, and must not find them here.
    "accelerate": _ALWAYS,
}


def compile_spec(resolved: Resolved, target: Target = "zerotrain") -> DeepSpeedConfig:
    """Returns the configuration for a reader.

    Raises SpecError when the spec's own `deepspeed` block names a key that is compiled from a field.
    """
    section: Section = {}
    for emit in _EMITTERS[target]:
        section |= emit(resolved)
    raw = resolved.spec.deepspeed
    problems = list(_overwritten(section, raw, ""))
    if problems:
        raise SpecError(*problems)
    return DeepSpeedConfig(_with_raw(section, raw, "deepspeed"))


def _overwritten(section: Section, raw: Mapping[str, Any], prefix: str) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    for key, value in raw.items():
        path, compiled = f"{prefix}{key}", section.get(key)
        if isinstance(compiled, dict) and isinstance(value, Mapping):
            found += _overwritten(compiled, value, f"{path}.")
        elif compiled is not None:
            found.append(_overwrite(path, compiled))
    return found


def _overwrite(path: str, compiled: Setting | Section) -> Diagnostic:
    key = f"deepspeed.{path}"
    if not isinstance(compiled, Setting):
        message = f"`{path}` is a compiled section of keys, and cannot be replaced by a single value"
        return error("ZT310", "overwritten-key", message, help=f"write the keys of `{path}` you need", key=key)
    if compiled.source == "zerotrain":
        message = f"`{path}` is always {compiled.value!r} in a run of zerotrain's: {compiled.why}"
        return error("ZT310", "overwritten-key", message, help="remove it here", key=key)
    message = f"`{path}` is compiled from `{compiled.source}`"
    return error("ZT310", "overwritten-key", message, help=f"set `{compiled.source}` instead", key=key)


def _with_raw(section: Section, raw: Mapping[str, Any], source: str) -> Section:
    merged = dict(section)
    for key, value in raw.items():
        below, here = merged.get(key), f"{source}.{key}"
        if isinstance(value, Mapping):
            merged[key] = _with_raw(below if isinstance(below, dict) else {}, value, here)
        else:
            merged[key] = Setting(value, here, "as written")
    return merged
