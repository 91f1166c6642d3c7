"""DeepSpeed configs: `auto`, which DeepSpeed itself does not know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zerotrain.check.config.case import AUTO, ConfigCase
from zerotrain.check.config.entries import Entry, entries
from zerotrain.check.config.frameworks import FILLS, FRAMEWORK, is_filled
from zerotrain.check.dsschema.schema import Signature
from zerotrain.check.rule import Rule, config_rule
from zerotrain.diagnostic import Diagnostic

FAILS_ON_TEXT: Mapping[str, str] = {
    "checkpoint.parallel_write.pipeline_stage": "when the config is read",
    "checkpoint.tag_validation": "when the config is read",
    "checkpoint.writer.data_parallel": "when the config is read",
    "checkpoint.writer.type": "when the config is read",
    "communication_data_type": "when the config is read",
    "data_types.grad_accum_dtype": "when the engine is built",
    "data_types.param_dtype": "when the engine is built",
    "gradient_accumulation_steps": "when the config is read",
    "gradient_allreduce_op": "when the config is read",
    "gradient_clipping": "at the first step",
    "log_level": "when the engine is built",
    "optimizer.type": "when the engine is built",
    "scheduler.type": "when the engine is built",
    "seq_parallel_communication_data_type": "when the config is read",
    "steps_per_print": "at the first step",
    "torch_autocast.dtype": "when the config is read",
    "train_batch_size": "when the config is read",
    "train_micro_batch_size_per_gpu": "when the config is read",
    "vocabulary_size": "when the config is read",
    "wall_clock_breakdown": "when the config is read",
}
"""Keys in sections DeepSpeed does not check on which it fails over `auto`, and when (runtime/config.py,
runtime/engine.py, runtime/model_checkpointing/config.py)."""


@config_rule("ZT903", "unfilled-auto")
def unfilled_auto(case: ConfigCase) -> Iterator[Diagnostic]:
    """A key is `auto`, and DeepSpeed fails on it.

    Why: only frameworks such as HF Trainer fill `auto`; DeepSpeed takes it for text, and computes with it.
    Wrong: `{"train_batch_size": "auto", "gradient_clipping": "auto"}`, handed to DeepSpeed by one's own script
    Right: `{"train_batch_size": 32, "gradient_clipping": 1.0}`
    """
    for path in _autos(case):
        when = _failure(case, path)
        if when and not _is_left_over(case, path):
            yield case.error(path, f"nobody fills `{path}: auto`; DeepSpeed fails on it {when}", help="write a value")


@config_rule("ZT905", "dropped-auto")
def dropped_auto(case: ConfigCase) -> Iterator[Diagnostic]:
    """A key is `auto`, and DeepSpeed uses its default.

    Why: in a section it checks, DeepSpeed drops whatever is `auto` without a word, as if the key were not there.
    Wrong: `{"bf16": {"enabled": "auto"}}`, handed to DeepSpeed by one's own script: bf16 is off
    Right: `{"bf16": {"enabled": true}}`
    """
    for entry in entries(case):
        fills = is_filled(case.reader, entry.path) or _is_left_over(case, entry.path)
        if entry.is_dropped and entry.key and entry.key.default != AUTO and not fills:
            used = "off" if entry.key.section or entry.key.default is None else f"`{_shown(entry.key.default)}`"
            message = f"nobody fills `{entry.path}: auto`; DeepSpeed drops it, so that it is {used}"
            yield case.warning(entry.path, message, help="write the value, or remove the key")


@config_rule("ZT916", "literal-auto")
def literal_auto(case: ConfigCase) -> Iterator[Diagnostic]:
    """A key is `auto`, and stays that text.

    Why: in the sections it does not check, DeepSpeed takes any text as it is; where a switch is expected it counts as
    true.
    Wrong: `{"prescale_gradients": "auto"}`, handed to DeepSpeed by one's own script: they are
    Right: `{"prescale_gradients": false}`
    """
    for entry in entries(case):
        if _is_literal(case, entry) and not _failure(case, entry.path):
            is_switch = entry.key is not None and entry.key.kinds == ("bool",)
            means = "it counts as true" if is_switch else "it stays that text"
            message = f"nobody fills `{entry.path}: auto`; {means}"
            yield case.warning(entry.path, message, help="write a value, or remove the key")


@config_rule("ZT917", "auto-left-over")
def auto_left_over(case: ConfigCase) -> Iterator[Diagnostic]:
    """A key is `auto` that neither HF Trainer nor Accelerate fills.

    Why: Accelerate, on which HF Trainer runs, walks the config before it hands it to DeepSpeed, and raises
    `not found in kwargs` on the first `auto` it has no value for, wherever it stands.
    Wrong: `{"zero_optimization": {"stage": 2, "allgather_bucket_size": "auto"}}`
    Right: `{"zero_optimization": {"stage": 2, "allgather_bucket_size": 5e8}}`
    """
    for path in _autos(case):
        if _is_left_over(case, path):
            message = f"{FRAMEWORK[case.reader]} does not fill `{path}: auto`, and Accelerate refuses what is left"
            key = case.schema.key(path)
            default = key.default if key else None
            help = "remove the key" if default is None else f"write a value, or remove it: `{_shown(default)}` is used"
            yield case.error(path, message, help=help)


@config_rule("ZT918", "missing-zero-section")
def missing_zero_section(case: ConfigCase) -> Iterator[Diagnostic]:
    """A config for HF Trainer or Accelerate has no `zero_optimization`.

    Why: Accelerate, on which HF Trainer runs, asks for the section and raises without it.
    Wrong: `{"train_batch_size": "auto", "bf16": {"enabled": true}}`, handed to HF Trainer
    Right: `{"train_batch_size": "auto", "bf16": {"enabled": true}, "zero_optimization": {"stage": 2}}`
    """
    if case.reader != "raw" and not isinstance(case.get("zero_optimization"), Mapping):
        message = f"{FRAMEWORK[case.reader]} needs a `zero_optimization` section"
        help = 'add `"zero_optimization": {"stage": 0}` for plain data parallelism'
        yield case.error("zero_optimization", message, help=help)


def _autos(case: ConfigCase) -> Iterator[str]:
    for path, value in case.leaves():
        if value == AUTO:
            yield path


def _is_left_over(case: ConfigCase, path: str) -> bool:
    """Tells whether Accelerate stumbles over an `auto`; one that DeepSpeed knows may be for DeepSpeed alone."""
    if case.reader == "raw" or is_filled(case.reader, path):
        return False
    return not _is_known_to_deepspeed(case, path) or any(case.get(filled) == AUTO for filled in FILLS[case.reader])


def _is_known_to_deepspeed(case: ConfigCase, path: str) -> bool:
    key = case.schema.key(path)
    return key is not None and (key.default == AUTO or AUTO in key.choices)


def _is_literal(case: ConfigCase, entry: Entry) -> bool:
    if entry.value != AUTO or entry.is_dropped or entry.key is None or entry.key.section:
        return False
    known = _is_known_to_deepspeed(case, entry.path)
    return not (known or is_filled(case.reader, entry.path) or _is_left_over(case, entry.path))


def _failure(case: ConfigCase, path: str) -> str | None:
    """Returns when DeepSpeed fails over an `auto`, or None when that is not certain or it is filled."""
    if is_filled(case.reader, path):
        return None
    parent, _, name = path.rpartition(".")
    tables = {"optimizer.params": case.schema.optimizers, "scheduler.params": case.schema.schedulers}
    if parent in tables and is_number(tables[parent], name):
        return "when the engine is built, or at the first step"
    return FAILS_ON_TEXT.get(path) if case.schema.key(path) else None


def is_number(signatures: Mapping[str, Signature], name: str) -> bool:
    """Tells whether a parameter of an optimizer or a scheduler is a number, or several."""
    return any(
        isinstance(default, int | float | list | tuple) and not isinstance(default, bool)
        for default in (signature.params.get(name) for signature in signatures.values())
    ) or any(name in signature.required for signature in signatures.values())


def _shown(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else f"{value}"


RULES: tuple[Rule, ...] = (unfilled_auto, dropped_auto, literal_auto, auto_left_over, missing_zero_section)
