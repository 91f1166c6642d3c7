"""DeepSpeed configs: kinds and ranges of values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from zerotrain.check.config.case import AUTO, ConfigCase
from zerotrain.check.config.conversion import (
    REFUSED,
    are_texts,
    converted,
    is_choice,
    is_placeholder,
    kinds_of,
    looks_like_placeholder,
    number_in,
    shown,
    text,
)
from zerotrain.check.config.entries import Entry, entries, joined
from zerotrain.check.config.rules.auto import FAILS_ON_TEXT, is_number
from zerotrain.check.dsschema.schema import Key
from zerotrain.check.rule import Rule, config_rule
from zerotrain.diagnostic import Diagnostic, Fix
from zerotrain.spec.suggest import listed

_OPENED_LATER = (
    "data_efficiency.data_routing.random_ltd.",
    "data_efficiency.data_sampling.curriculum_learning.",
)
"""Sections DeepSpeed copies as they are, and opens when the feature is on (runtime/data_pipeline/config.py)."""

_NULL_SECTIONS = frozenset(
    {"aio", "autotuning.model_info", "bf16", "checkpoint.writer", "datastates_ckpt", "expert_parallel"}
)
"""Sections outside a checked one that may be `null` (each where it is read)."""

_NUMBERS_AT_TOP_LEVEL = frozenset(
    {
        "gradient_accumulation_steps",
        "gradient_clipping",
        "steps_per_print",
        "train_batch_size",
        "train_micro_batch_size_per_gpu",
        "vocabulary_size",
    }
)
"""Numbers DeepSpeed computes with unchecked (runtime/config.py, runtime/engine.py)."""


_USED_AT_ONCE: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "autotuning.exps_dir": (bool, "a directory"),
    "autotuning.results_dir": (bool, "a directory"),
    "checkpoint.parallel_write.pipeline_stage": (lambda value: value in (True, False), "true or false"),
    "data_types.keep_in_fp32_modules": (
        lambda value: value == AUTO or (isinstance(value, list) and are_texts(value)),
        "a list of names, or `auto`",
    ),
    "flops_profiler.enabled": (lambda value: isinstance(value, int), "true or false"),
    "optimizer.type": (lambda value: value is None or isinstance(value, str), "text"),
    "torch_autocast.lower_precision_safe_modules": (are_texts, "a list of class names"),
    "wall_clock_breakdown": (lambda value: isinstance(value, int), "true or false"),
}
"""Keys outside the sections DeepSpeed checks that it uses while it reads the config, with the values it gets along with
and what they are to be (runtime/config.py, autotuning/config.py)."""

_ANY_KIND = frozenset({"mpu", "tp_group"})
"""Keys of a checked section that take anything (runtime/tensor_parallel/config.py)."""


@config_rule("ZT930", "wrong-kind")
def wrong_kind(case: ConfigCase) -> Iterator[Diagnostic]:
    """A value is of a kind DeepSpeed refuses.

    Why: in the sections it checks, DeepSpeed converts what pydantic converts, such as `"3"` to 3 and `"yes"` to true,
    and refuses the rest.
    Wrong: `{"zero_optimization": {"stage": 2, "reduce_bucket_size": 1.5}}`
    Right: `{"zero_optimization": {"stage": 2, "reduce_bucket_size": 500000000}}`
    """
    for entry, key in _checked(case):
        taken = key.choices or key.section or is_placeholder(entry.value, key)
        if not taken and converted(entry, key) is REFUSED:
            message = f"`{entry.path}` is {shown(entry.value)}; it must be {kinds_of(key)}"
            help = None if key.kinds else "remove it"
            yield case.error(entry.path, message, help=help)


@config_rule("ZT931", "out-of-range")
def out_of_range(case: ConfigCase) -> Iterator[Diagnostic]:
    """A number is outside the range DeepSpeed accepts.

    Why: DeepSpeed checks the bounds of the sections it checks, and refuses the config.
    Wrong: `{"zero_optimization": {"stage": 2, "reduce_bucket_size": 0}}`
    Right: `{"zero_optimization": {"stage": 2, "reduce_bucket_size": 500000000}}`
    """
    for entry, key in _checked(case):
        value = converted(entry, key)
        bound = _broken_bound(key, value)
        if bound and not key.choices:
            yield case.error(entry.path, f"`{entry.path}` is {shown(entry.value)}; it must be {bound}")


@config_rule("ZT932", "unknown-choice")
def unknown_choice(case: ConfigCase) -> Iterator[Diagnostic]:
    """A value is none of those DeepSpeed takes.

    Why: DeepSpeed compares with a fixed list, and refuses the config.
    Wrong: `{"zero_optimization": {"stage": 4}}`
    Right: `{"zero_optimization": {"stage": 3}}`
    """
    for entry in entries(case):
        choices = entry.key.choices if entry.key else ()
        enforced = entry.section.strict or entry.path in FAILS_ON_TEXT
        if choices and enforced and entry.path not in _USED_AT_ONCE and not entry.is_dropped and not is_choice(entry):
            allowed = listed((text(choice) for choice in choices), "or")
            yield case.error(entry.path, f"`{entry.path}` is {shown(entry.value)}; DeepSpeed knows {allowed}")


@config_rule("ZT933", "number-as-text")
def number_as_text(case: ConfigCase) -> Iterator[Diagnostic]:
    """A number DeepSpeed computes with is no number.

    Why: at the top level and among the parameters of the optimizer and the scheduler DeepSpeed converts nothing, and
    fails when it computes with the value: at the start, or only at the first step.
    Wrong: `{"optimizer": {"type": "AdamW", "params": {"lr": "1e-4"}}}`
    Right: `{"optimizer": {"type": "AdamW", "params": {"lr": 1e-4}}}`
    """
    for path, value in _computed_with(case):
        number = number_in(value)
        if value != AUTO and not isinstance(value, int | float) and not _is_nothing(path, value):
            help = "remove the quotes" if number is not None else "write a number"
            fix = Fix("remove the quotes", path, number) if number is not None else None
            message = f"`{path}` is {shown(value)}; DeepSpeed computes with it and fails"
            yield case.error(path, message, help=help, fix=fix)


@config_rule("ZT934", "not-a-section")
def not_a_section(case: ConfigCase) -> Iterator[Diagnostic]:
    """A section is given as something else.

    Why: DeepSpeed opens it as a mapping of keys, and fails.
    Wrong: `{"bf16": true}`
    Right: `{"bf16": {"enabled": true}}`
    """
    for entry in entries(case):
        path = joined(entry.parent, entry.name)
        opened = entry.key is not None and entry.key.section and not path.startswith(_OPENED_LATER)
        opened = opened or (path == "optimizer.params" and bool(entry.value))
        opened = opened or (path == "scheduler.params" and entry.value is not None)
        if opened and not isinstance(entry.value, Mapping) and not _is_read(entry):
            has_switch = isinstance(entry.value, bool) and case.schema.key(f"{path}.enabled") is not None
            help = f'write `{{"enabled": {text(entry.value)}}}`' if has_switch else "write `{…}`, or remove it"
            message = f"`{entry.path}` is {shown(entry.value)}; it must be a section"
            yield case.error(entry.path, message, help=help)


@config_rule("ZT935", "old-zero-form")
def old_zero_form(case: ConfigCase) -> Iterator[Diagnostic]:
    """`zero_optimization` is true or false.

    Why: this is the form of the first DeepSpeed; true means stage 1 today, which is less than most expect.
    Wrong: `{"zero_optimization": true}`
    Right: `{"zero_optimization": {"stage": 1}}`
    """
    value = case.get("zero_optimization")
    if isinstance(value, bool) and case.reader == "raw":
        message = f"`zero_optimization: {text(value)}` is a deprecated form of stage {int(value)}"
        yield case.warning("zero_optimization", message, help=f'write `{{"stage": {int(value)}}}`')


@config_rule("ZT936", "switch-as-text")
def switch_as_text(case: ConfigCase) -> Iterator[Diagnostic]:
    """A switch is given as text in a section DeepSpeed does not check.

    Why: any text counts as true there, `"false"` too.
    Wrong: `{"prescale_gradients": "false"}`
    Right: `{"prescale_gradients": false}`
    """
    for entry in _unchecked(case):
        is_text = isinstance(entry.value, str) and entry.value != AUTO
        if entry.key and entry.key.kinds == ("bool",) and is_text and entry.path not in FAILS_ON_TEXT:
            counts = "true" if entry.value else "false"
            message = f"`{entry.path}` is {shown(entry.value)}, which counts as {counts}"
            yield case.warning(entry.path, message, help="write `true` or `false` without quotes")


@config_rule("ZT937", "unconverted-number")
def unconverted_number(case: ConfigCase) -> Iterator[Diagnostic]:
    """A number is given as text in a section DeepSpeed does not check.

    Why: DeepSpeed hands the text on as it is; what uses it fails, or never matches it.
    Wrong: `{"flops_profiler": {"enabled": true, "profile_step": "10"}}`
    Right: `{"flops_profiler": {"enabled": true, "profile_step": 10}}`
    """
    for entry in _unchecked(case):
        kinds = entry.key.kinds if entry.key else ()
        is_number = bool({"int", "float"} & set(kinds)) and "str" not in kinds
        is_text = isinstance(entry.value, str) and entry.value != AUTO
        if is_number and is_text and entry.path not in _NUMBERS_AT_TOP_LEVEL:
            message = f"`{entry.path}` is {shown(entry.value)}; DeepSpeed does not convert it"
            yield case.warning(entry.path, message, help="write a number without quotes")


@config_rule("ZT938", "unusable-value")
def unusable_value(case: ConfigCase) -> Iterator[Diagnostic]:
    """A value is of a kind on which DeepSpeed fails while it reads the config.

    Why: a few keys outside the checked sections are used at once: `wall_clock_breakdown` is combined with another
    switch, which fails for text and numbers with a point.
    Wrong: `{"wall_clock_breakdown": "true"}`
    Right: `{"wall_clock_breakdown": true}`
    """
    for path, (works, what) in _USED_AT_ONCE.items():
        value = case.get(path)
        skipped = (value == AUTO and path in FAILS_ON_TEXT) or looks_like_placeholder(value)
        if case.schema.key(path) and case.has(path) and not skipped and not works(value):
            yield case.error(path, f"`{path}` is {shown(value)}; DeepSpeed fails on it", help=f"write {what}")


@config_rule("ZT939", "unfilled-template")
def unfilled_template(case: ConfigCase) -> Iterator[Diagnostic]:
    """The file is a template whose placeholders have not been replaced.

    Why: DeepSpeed would take a placeholder for text, and fail on it or count it as true.
    Wrong: `{"train_batch_size": "GLOBAL_BATCH_SIZE"}`
    Right: the file that comes out when the placeholders are replaced
    """
    found = [entry for entry in entries(case) if entry.key and is_placeholder(entry.value, entry.key)]
    if found:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        message = f"`{found[0].path}` is the placeholder `{found[0].value}`{more}"
        yield case.warning(found[0].path, message, help="lint the file that comes out when they are replaced")


def _checked(case: ConfigCase) -> Iterator[tuple[Entry, Key]]:
    """Yields the keys whose value DeepSpeed checks."""
    for entry in entries(case):
        if entry.section.strict and entry.key is not None and not entry.is_dropped and entry.name not in _ANY_KIND:
            yield entry, entry.key


def _unchecked(case: ConfigCase) -> Iterator[Entry]:
    return (e for e in entries(case) if not e.section.strict and not looks_like_placeholder(e.value))


def _broken_bound(key: Key, value: Any) -> str | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    if key.above is not None and not value > key.above:
        return f"above {key.above:g}"
    if key.minimum is not None and not value >= key.minimum:
        return f"at least {key.minimum:g}"
    if key.below is not None and not value < key.below:
        return f"below {key.below:g}"
    if key.maximum is not None and not value <= key.maximum:
        return f"at most {key.maximum:g}"
    return None


def _is_read(entry: Entry) -> bool:
    """Tells whether DeepSpeed gets along with what stands in place of a section."""
    path, value = joined(entry.parent, entry.name), entry.value
    if entry.is_dropped or path == "datastates_ckpt" or (path == "zero_optimization" and isinstance(value, bool)):
        return True
    if path == "zero_optimization.leaf_module" and value is None:
        return True
    if path == "timers":
        return isinstance(value, str | list)
    if path == "expert_parallel" and not value:
        return True
    kinds = entry.key.kinds if entry.key else ()
    return value is None and ("null" in kinds or path in _NULL_SECTIONS)


def _computed_with(case: ConfigCase) -> Iterator[tuple[str, Any]]:
    """Yields the numbers DeepSpeed computes with unchecked."""
    for path in sorted(_NUMBERS_AT_TOP_LEVEL):
        if case.has(path) and not looks_like_placeholder(case.get(path)):
            yield path, case.get(path)
    for parent, table in (("optimizer.params", case.schema.optimizers), ("scheduler.params", case.schema.schedulers)):
        for name, value in case.mapping(parent).items():
            if is_number(table, name) and not looks_like_placeholder(value):
                several = value if isinstance(value, list) else [value]
                yield from ((joined(parent, name), item) for item in several if isinstance(item, str | Mapping))


def _is_nothing(path: str, value: Any) -> bool:
    """Tells whether a value counts as none."""
    return (value is None and path != "gradient_clipping") or (path == "vocabulary_size" and not value)


RULES: tuple[Rule, ...] = (
    wrong_kind,
    out_of_range,
    unknown_choice,
    number_as_text,
    not_a_section,
    old_zero_form,
    switch_as_text,
    unconverted_number,
    unusable_value,
    unfilled_template,
)
