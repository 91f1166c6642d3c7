"""DeepSpeed configs: which keys stand in a config."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from zerotrain.check.config.case import AUTO, ConfigCase, joined
from zerotrain.check.config.entries import Entry, entries
from zerotrain.check.config.frameworks import FOREIGN_KEYS, kind_of_file
from zerotrain.check.config.hints import hint
from zerotrain.check.config.rules.auto import RULES as AUTO_RULES
from zerotrain.check.rule import Rule, config_rule
from zerotrain.diagnostic import Diagnostic, Fix
from zerotrain.spec.suggest import listed

_COMMENT = re.compile(r"[^a-z0-9]|(comment|note|description|readme|documentation)s?[-_0-9]*$", re.IGNORECASE)
_FEW = 3
"""Unknown keys, from which on a config is somebody else's when there are no others."""
_MANY = 6
"""Unknown keys, from which on a config is somebody else's when they are the most, and those of a known tool."""
_SHOWN = 6
"""Names that are shown of many."""

_OLD_SECTIONS: Mapping[str, str] = {"bfloat16": "bf16"}
"""Old spellings of sections (runtime/precision_config.py)."""

_ENABLED_IS_NOT_READ = frozenset(
    {"autotuning", "comms_logger", "data_efficiency", "data_efficiency.data_routing", "data_efficiency.data_sampling"}
)
"""Sections with an `enabled` that does not switch them (comm/config.py, runtime/engine.py, launcher/runner.py)."""


@config_rule("ZT901", "unknown-deepspeed-key")
def unknown_deepspeed_key(case: ConfigCase) -> Iterator[Diagnostic]:
    """A key is not one DeepSpeed reads, and DeepSpeed ignores it.

    Why: at the top level and in the sections it reads without a model, DeepSpeed asks for the keys it knows and never
    looks at the others: a misspelt setting is silently its default.
    Wrong: `{"gradient_cliping": 0.5}`
    Right: `{"gradient_clipping": 0.5}`
    """
    for entry in _ignored(case) if not case.is_compiled else ():
        help, fix = hint(case, entry)
        yield case.ignored_key(entry.path, _not_read(entry), help=help, fix=fix)


@config_rule("ZT909", "unread-raw-key")
def unread_raw_key(case: ConfigCase) -> Iterator[Diagnostic]:
    """A raw key of a spec is not one DeepSpeed reads.

    Why: DeepSpeed would ignore it without a word; a run of zerotrain's stops before its first step on a key that
    nobody has read.
    Wrong: `deepspeed: {memory_brakdown: true}`
    Right: `deepspeed: {memory_breakdown: true}`
    """
    for entry in _ignored(case) if case.is_compiled else ():
        help, fix = hint(case, entry)
        yield case.refused_key(entry.path, _not_read(entry), help=help, fix=fix)


def _not_read(entry: Entry) -> str:
    where = f" in `{entry.parent}`" if entry.parent else ""
    return f"DeepSpeed does not read `{entry.name}`{where}"


@config_rule("ZT904", "refused-deepspeed-key")
def refused_deepspeed_key(case: ConfigCase) -> Iterator[Diagnostic]:
    """A section holds a key it does not have, and DeepSpeed refuses the config.

    Why: the section is read by a pydantic model that forbids extra keys.
    Wrong: `{"fp16": {"enabled": true, "inital_scale_power": 16}}`
    Right: `{"fp16": {"enabled": true, "initial_scale_power": 16}}`
    """
    for entry in _unknown(case):
        if entry.section.strict and not entry.is_dropped:
            help, fix = (_comment_help, None) if _is_comment(entry.name) else hint(case, entry)
            message = f"DeepSpeed refuses `{entry.name}` in `{entry.parent}`"
            yield case.refused_key(entry.path, message, help=help, fix=fix)


_comment_help = "JSON has no comments; move it to the top level, where it is ignored, or remove it"


@config_rule("ZT906", "framework-key")
def framework_key(case: ConfigCase) -> Iterator[Diagnostic]:
    """A key belongs to the framework around DeepSpeed, not to DeepSpeed's config.

    Why: DeepSpeed ignores it, and HF Trainer and Accelerate do not look for their own arguments in this file.
    Wrong: `{"per_device_train_batch_size": 8}`
    Right: `{"train_micro_batch_size_per_gpu": 8}`
    """
    foreign = _foreign_file(case)
    for entry in entries(case):
        framework = _framework_of(entry)
        if framework and not foreign:
            instead = FOREIGN_KEYS[framework][entry.name]
            help = f"DeepSpeed's key for it is `{instead}`" if instead else "set it there, and remove it here"
            yield case.ignored_key(entry.path, f"`{entry.name}` is one of {framework}; DeepSpeed ignores it", help=help)


@config_rule("ZT907", "nested-config")
def nested_config(case: ConfigCase) -> Iterator[Diagnostic]:
    """Sections stand one level too deep.

    Why: DeepSpeed looks for them at the top level and ignores what they are wrapped in.
    Wrong: `{"monitor_config": {"tensorboard": {"enabled": true}}}`
    Right: `{"tensorboard": {"enabled": true}}`
    """
    for entry in entries(case):
        wrapped = _wrapped(case, entry)
        if wrapped:
            message = f"DeepSpeed ignores `{entry.name}`, and with it {listed(wrapped[:4], 'and')}"
            yield case.ignored_key(entry.path, message, help="move what stands in it to the top level")


@config_rule("ZT908", "foreign-config")
def foreign_config(case: ConfigCase) -> Iterator[Diagnostic]:
    """The file is the config of another tool.

    Why: DeepSpeed would read the few keys that happen to have its names, and ignore all others.
    Wrong: `{"output_dir": "out", "num_train_epochs": 3, "learning_rate": 1e-4, "save_steps": 500}`
    Right: a file with DeepSpeed's keys: `{"train_batch_size": 32, "zero_optimization": {"stage": 2}}`
    """
    ignored = _foreign_file(case)
    if ignored:
        looks = kind_of_file(frozenset(case.config))
        what = f"this looks like {looks}: " if looks else ""
        names = ", ".join(f"`{name}`" for name in ignored[:_SHOWN])
        more = ", …" if len(ignored) > _SHOWN else ""
        message = f"{what}DeepSpeed reads {_count(case, ignored)} and ignores {names}{more}"
        yield case.ignored_key(ignored[0], message, help="give DeepSpeed a config of its own")


@config_rule("ZT902", "removed-deepspeed-key")
def removed_deepspeed_key(case: ConfigCase) -> Iterator[Diagnostic]:
    """A key is one this version of DeepSpeed has removed.

    Why: DeepSpeed refuses the config when such a key is merely present, even with `enabled: false`.
    Wrong: `{"elasticity": {"enabled": false}}`
    Right: the key removed
    """
    series = case.schema.version.rpartition(".")[0]
    for path, instead in case.schema.removed.items():
        if case.has(path):
            message = f"DeepSpeed {series} has removed `{path.rpartition('.')[2]}`"
            yield case.refused_key(path, message, help=instead or "remove it")


@config_rule("ZT910", "deprecated-deepspeed-key")
def deprecated_deepspeed_key(case: ConfigCase) -> Iterator[Diagnostic]:
    """A key has been replaced by another one.

    Why: DeepSpeed still reads it, and will refuse it one day, as it does with all keys it has removed.
    Wrong: `{"zero_optimization": {"stage": 2, "cpu_offload": true}}`
    Right: `{"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}`
    """
    for entry in entries(case):
        if entry.key and entry.key.deprecated is not None and not entry.is_dropped and not _replacements(entry):
            new = entry.key.deprecated
            message = f"`{entry.name}` is deprecated" if new else f"`{entry.name}` does nothing any more"
            help = f"use `{new}` instead" if new and entry.value is not False else "remove it"
            yield case.ignored_key(entry.path, message, help=help, fix=_renamed(entry, new))
    for old, new in _OLD_SECTIONS.items():
        if case.has(old) and not case.has(new):
            fix = Fix(f"rename to `{new}`", old, new, renames=True)
            yield case.ignored_key(old, f"`{old}` is an old spelling of `{new}`", help=f"use `{new}` instead", fix=fix)


@config_rule("ZT911", "deprecated-and-new-key")
def deprecated_and_new_key(case: ConfigCase) -> Iterator[Diagnostic]:
    """A deprecated key and the one that replaces it stand together.

    Why: DeepSpeed asserts that only one of them is given, even when the old one is `false`.
    Wrong: `{"zero_optimization": {"cpu_offload": false, "offload_optimizer": {"device": "cpu"}}}`
    Right: `{"zero_optimization": {"offload_optimizer": {"device": "cpu"}}}`
    """
    for entry in entries(case):
        for new in () if entry.is_dropped else _replacements(entry):
            message = f"`{entry.name}` and `{new}`, which replaces it, stand together; DeepSpeed refuses both at once"
            yield case.refused_key(entry.path, message, help=f"remove `{entry.name}`")


@config_rule("ZT912", "key-under-two-names")
def key_under_two_names(case: ConfigCase) -> Iterator[Diagnostic]:
    """A setting is given under both of its names.

    Why: DeepSpeed reads one of the two and refuses the other as an extra key.
    Wrong: `{"zero_optimization": {"max_live_parameters": 1e9, "stage3_max_live_parameters": 1e9}}`
    Right: `{"zero_optimization": {"stage3_max_live_parameters": 1e9}}`
    """
    for entry in entries(case):
        names = entry.section.spellings(entry.name)
        given = [name for name in names if entry.siblings.get(name, AUTO) != AUTO]
        if entry.section.strict and len(given) > 1 and entry.name == given[0]:
            message = f"{listed(given, 'and')} are the same setting; DeepSpeed refuses it under two names"
            yield case.refused_key(entry.path, message, help="keep one of them")


@config_rule("ZT913", "shadowed-bfloat16")
def shadowed_bfloat16(case: ConfigCase) -> Iterator[Diagnostic]:
    """`bf16` and its old spelling `bfloat16` stand together.

    Why: DeepSpeed reads `bf16` and never looks at the other one.
    Wrong: `{"bf16": {"enabled": false}, "bfloat16": {"enabled": true}}`
    Right: `{"bf16": {"enabled": true}}`
    """
    if case.get("bf16") is not None and case.has("bfloat16"):
        yield case.ignored_key("bfloat16", "DeepSpeed ignores `bfloat16` when there is `bf16`", help="remove it")


@config_rule("ZT914", "on-by-presence")
def on_by_presence(case: ConfigCase) -> Iterator[Diagnostic]:
    """A section that is to be off is on because it is there.

    Why: DeepSpeed looks whether `comms_logger` and `datastates_ckpt` are present, not at their `enabled`.
    Wrong: `{"comms_logger": {"enabled": false}}`
    Right: the section removed
    """
    for name in ("comms_logger", "datastates_ckpt"):
        is_key = case.schema.key(name) is not None
        if is_key and case.mapping(name).get("enabled", True) is False:
            message = f"`{name}` is on although `enabled` is false: DeepSpeed looks only whether it is there"
            yield case.ignored_key(joined(name, "enabled"), message, help=f"remove `{name}`")


@config_rule("ZT915", "section-without-enabled")
def section_without_enabled(case: ConfigCase) -> Iterator[Diagnostic]:
    """A section has settings, but is not switched on.

    Why: `enabled` is false unless it is written, and the section then does nothing.
    Wrong: `{"fp16": {"loss_scale": 0}}`
    Right: `{"fp16": {"enabled": true, "loss_scale": 0}}`
    """
    for entry in entries(case):
        path = joined(entry.parent, entry.name)
        switch = case.schema.key(f"{path}.enabled")
        settings: Mapping[str, Any] = entry.value if isinstance(entry.value, Mapping) else {}
        off = switch is not None and switch.default is False and path not in _ENABLED_IS_NOT_READ
        if off and settings and "enabled" not in settings and settings.get("auto_cast") is not True:
            message = f"`{entry.path}` does nothing without `enabled`, which is false by default"
            yield case.ignored_key(entry.path, message, help='add `"enabled": true`, or remove the section')


def _ignored(case: ConfigCase) -> Iterator[Entry]:
    """Yields the unknown keys DeepSpeed ignores."""
    for entry in _unknown(case):
        if not entry.section.strict or entry.is_dropped:
            yield entry


def _unknown(case: ConfigCase) -> Iterator[Entry]:
    """Yields the keys DeepSpeed does not read, except those another rule explains."""
    for entry in entries(case):
        explained = entry.path in case.schema.removed or _framework_of(entry) or _wrapped(case, entry)
        comment = _is_comment(entry.name) and not entry.section.strict
        if entry.key is None and not explained and not comment:
            yield entry


def _is_comment(name: str) -> bool:
    return _COMMENT.match(name) is not None


def _framework_of(entry: Entry) -> str | None:
    if entry.parent or entry.key is not None:
        return None
    return next((title for title, keys in FOREIGN_KEYS.items() if entry.name in keys), None)


def _wrapped(case: ConfigCase, entry: Entry) -> list[str]:
    """Returns DeepSpeed's own top-level keys that stand in an unknown one, when they make it up."""
    if entry.parent or entry.key is not None or not isinstance(entry.value, Mapping) or _is_comment(entry.name):
        return []
    top = case.schema.sections[""]
    known = [name for name in entry.value if top.spellings(name)]
    return known if 2 * len(known) > len(entry.value) else []


def _foreign_file(case: ConfigCase) -> list[str]:
    """Returns the top-level keys DeepSpeed does not read, when they show that the file is not one of DeepSpeed's."""
    top = case.schema.section("")
    names = [name for name in case.config if not _is_comment(name) and name not in case.schema.removed]
    unknown = [name for name in names if top is not None and not top.spellings(name)]
    if len(unknown) >= _FEW and len(unknown) == len(names):
        return unknown
    is_most = len(unknown) >= _MANY and 2 * len(unknown) > len(names)
    return unknown if is_most and kind_of_file(frozenset(unknown)) else []


def _count(case: ConfigCase, ignored: list[str]) -> str:
    read = len(case.config) - len(ignored)
    return "none of its keys" if not read else f"{read} of its {len(case.config)} keys"


def _replacements(entry: Entry) -> list[str]:
    """Returns the spellings of what replaces a deprecated key that stand beside it."""
    if entry.key is None or not entry.key.deprecated or not entry.section.strict:
        return []
    return [name for name in entry.section.spellings(entry.key.deprecated) if entry.siblings.get(name, AUTO) != AUTO]


def _renamed(entry: Entry, new: str) -> Fix | None:
    """Returns the renaming, when the new key takes the same kind of value."""
    target = entry.section.keys.get(new)
    if target is None or entry.key is None or target.kinds != entry.key.kinds or new in entry.siblings:
        return None
    return Fix(f"rename to `{new}`", entry.path, new, renames=True)


RULES: tuple[Rule, ...] = (
    unknown_deepspeed_key,
    removed_deepspeed_key,
    refused_deepspeed_key,
    framework_key,
    nested_config,
    foreign_config,
    unread_raw_key,
    deprecated_deepspeed_key,
    deprecated_and_new_key,
    key_under_two_names,
    shadowed_bfloat16,
    on_by_presence,
    section_without_enabled,
    *AUTO_RULES,
)
