"""The keys of a DeepSpeed config, each with what DeepSpeed's schema knows about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from zerotrain.check.config.case import AUTO, ConfigCase, joined
from zerotrain.check.dsschema.schema import Key, Section

_MONITORS = frozenset({"tensorboard", "wandb", "csv_monitor", "comet"})
"""Sections that are themselves fields of a strict model (monitor/config.py)."""


@dataclass(frozen=True)
class Entry:
    """One key that stands in a section DeepSpeed knows."""

    path: str
    """As it is written."""
    name: str
    value: Any
    parent: str
    """Path of its section in the schema; empty at the top level."""
    section: Section
    key: Key | None
    """None when DeepSpeed does not read it."""
    siblings: Mapping[str, Any]
    """What stands in the same section."""

    @property
    def is_dropped(self) -> bool:
        """Tells whether DeepSpeed drops it before it looks: `auto` in a strict section."""
        return self.value == AUTO and (self.section.strict or self.path in _MONITORS)


def entries(case: ConfigCase) -> Iterator[Entry]:
    """Yields every key in every section DeepSpeed reads."""
    yield from _inside(case, "", "", case.config)


def _inside(case: ConfigCase, written: str, parent: str, values: Mapping[str, Any]) -> Iterator[Entry]:
    section = case.schema.section(parent)
    for name, value in values.items():
        own = name if section is None else next(iter(section.spellings(name)), None)
        path = joined(written, name)
        if section is not None:
            yield Entry(path, name, value, parent, section, section.keys[own] if own else None, values)
        if own and not _is_shadowed(case, path):
            yield from _below(case, path, joined(parent, own), value)


def _below(case: ConfigCase, written: str, path: str, value: Any) -> Iterator[Entry]:
    """Yields what stands in a value: a section, sections under names of one's own, or a list of sections."""
    if isinstance(value, Mapping) and _has_keys(case, path):
        yield from _inside(case, written, path, value)
    elif isinstance(value, list) and _has_keys(case, path):
        for index, item in enumerate(value):
            if isinstance(item, Mapping):
                yield from _inside(case, f"{written}[{index}]", f"{path}.*", item)


def _has_keys(case: ConfigCase, path: str) -> bool:
    return case.schema.section(path) is not None or case.schema.section(f"{path}.*") is not None


def _is_shadowed(case: ConfigCase, path: str) -> bool:
    return path == "bfloat16" and case.get("bf16") is not None
