"""The compiler: a settled spec to the configuration DeepSpeed reads. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from zerotrain.compile.dsconfig import ZEROTRAIN, DeepSpeedConfig, Section, Setting, Target
from zerotrain.compile.raw import laid_over, overwritten
from zerotrain.compile.resolve import Resolved
from zerotrain.compile.sections.batch import emit_batch
from zerotrain.compile.sections.experts import emit_experts
from zerotrain.compile.sections.optimizer import emit_clipping, emit_optimizer
from zerotrain.compile.sections.parallel import emit_tensor_parallel
from zerotrain.compile.sections.pipeline import emit_pipeline
from zerotrain.compile.sections.precision import emit_precision
from zerotrain.compile.sections.rest import (
    emit_activation_checkpointing,
    emit_compile,
    emit_housekeeping,
    emit_monitors,
)
from zerotrain.compile.sections.schedule import emit_schedule
from zerotrain.compile.sections.zero import emit_zero
from zerotrain.diagnostic import Diagnostic
from zerotrain.errors import SpecError
from zerotrain.spec.load import UnreadSection

Emitter = Callable[[Resolved], Section]

_ALWAYS: tuple[Emitter, ...] = (
    emit_batch,
    emit_clipping,
    emit_precision,
    emit_zero,
    emit_tensor_parallel,
    emit_experts,
    emit_activation_checkpointing,
    emit_compile,
    emit_housekeeping,
)
_EMITTERS: Mapping[Target, tuple[Emitter, ...]] = {
    # Our loop sets the learning rate and writes the events.
    "zerotrain": (*_ALWAYS, emit_pipeline, emit_optimizer),
    "deepspeed": (*_ALWAYS, emit_pipeline, emit_optimizer, emit_schedule, emit_monitors),
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
    problems = list(overwritten(section, raw))
    if problems:
        raise SpecError(*problems)
    return DeepSpeedConfig(laid_over(_with_defaults_named(section, resolved.written), raw))


def refused_keys(resolved: Resolved) -> list[Diagnostic]:
    """Returns a finding for every raw key that `compile_spec` refuses, as far as the spec could be read."""
    return list(overwritten(_as_far_as_read(resolved, "deepspeed"), resolved.spec.deepspeed))


def draft_config(resolved: Resolved) -> DeepSpeedConfig:
    """Returns what a run of ours would read, as far as the spec could be read; a refused raw key counts as written."""
    section = _as_far_as_read(resolved, "zerotrain")
    return DeepSpeedConfig(laid_over(section, resolved.spec.deepspeed))


def _as_far_as_read(resolved: Resolved, target: Target) -> Section:
    section: Section = {}
    for emit in _EMITTERS[target]:
        try:
            section |= emit(resolved)
        except UnreadSection:
            continue
    return section


def _with_defaults_named(section: Section, written: Collection[str]) -> Section:
    """Says `the default` of every value that is compiled as it stands, but stands nowhere in the spec."""
    return {key: _named(entry, written) for key, entry in section.items()}


def _named(entry: Setting | Section, written: Collection[str]) -> Setting | Section:
    if not isinstance(entry, Setting):
        return _with_defaults_named(entry, written)
    is_default = entry.why == "as written" and entry.source != ZEROTRAIN and entry.source not in written
    return replace(entry, why="the default") if is_default else entry
