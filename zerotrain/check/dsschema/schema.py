"""What a version of DeepSpeed reads, as data: one snapshot per version, taken from the installed package.

`tools/snapshot.py` writes the snapshots.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Kind = Literal["bool", "int", "float", "str", "list", "dict", "null"]


@dataclass(frozen=True)
class Key:
    """One key DeepSpeed reads."""

    kinds: tuple[Kind, ...] = ()
    """Kinds of value it is for; empty when any will do.

    A strict section also converts: the text of a number or of a switch, a whole float for an int, a switch for a
    number, 0 or 1 for a switch; never to text. A section that is not strict does not look at the kind.
    """
    default: Any = None
    """Value of a config without the key; None when there is none."""
    choices: tuple[Any, ...] = ()
    """The only values it takes, beside null when that is among its kinds; empty when any will do."""
    any_case: bool = False
    """Choices may be spelled in capitals, small letters or both."""
    minimum: float | None = None
    """Smallest value."""
    above: float | None = None
    """Values must be greater than this."""
    maximum: float | None = None
    """Largest value."""
    below: float | None = None
    """Values must be smaller than this."""
    aliases: tuple[str, ...] = ()
    """Other spellings that are read."""
    deprecated: str | None = None
    """What to use instead of this one, empty when it does nothing any more."""
    section: bool = False
    """Its value is a section with keys of its own."""


@dataclass(frozen=True)
class Section:
    """The keys that may stand together."""

    strict: bool
    """DeepSpeed refuses unknown keys here; elsewhere it ignores them."""
    keys: Mapping[str, Key]

    def spellings(self, name: str) -> tuple[str, ...]:
        """Returns all names of a key, its own first; empty when there is no such key."""
        found = ((own, *key.aliases) for own, key in self.keys.items() if name == own or name in key.aliases)
        return next(found, ())


@dataclass(frozen=True)
class Signature:
    """The parameters of an optimizer or a scheduler."""

    params: Mapping[str, Any]
    """Name to default; None when there is none or it is None."""
    required: tuple[str, ...] = ()
    drops_unknown: bool = False
    """Unknown parameters are ignored instead of refused."""
    torch_only: tuple[str, ...] = ()
    """Further parameters that are taken when the parameter `torch_adam` is true."""


@dataclass(frozen=True)
class Schema:
    """Everything a version of DeepSpeed reads in its config."""

    version: str
    sections: Mapping[str, Section]
    """By dotted path, in which `*` stands for any one name; the empty path is the top level."""
    removed: Mapping[str, str]
    """Dotted path of every key this version refuses because it once had it, with what to do instead."""
    optimizers: Mapping[str, Signature]
    """By lower-case type."""
    schedulers: Mapping[str, Signature]
    """By exact type."""

    def section(self, path: str) -> Section | None:
        """Returns the section at a dotted path, or None when there is none."""
        return self.sections.get(path) or next(
            (section for pattern, section in self.sections.items() if "*" in pattern and _fits(path, pattern)), None
        )

    def key(self, path: str) -> Key | None:
        """Returns the key at a dotted path, an alias too, or None when DeepSpeed does not read it."""
        parent, _, name = path.rpartition(".")
        section = self.section(parent)
        if section is None:
            return None
        return section.keys.get(name) or next((key for key in section.keys.values() if name in key.aliases), None)


def _fits(path: str, pattern: str) -> bool:
    parts, wanted = path.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(want in ("*", part) for part, want in zip(parts, wanted, strict=True))


NEWEST = "0.19.8"
"""The version zerotrain is tested with."""


def versions() -> list[str]:
    """Returns the versions there is a snapshot of, oldest first."""
    names = (file.name for file in files("zerotrain.check.dsschema").iterdir() if file.name.endswith(".json"))
    return sorted((name.removesuffix(".json") for name in names), key=_numbers)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


@cache
def schema_of(version: str = NEWEST) -> Schema:
    """Returns the schema of a version; KeyError when there is no snapshot of it."""
    if version not in versions():
        raise KeyError(version)
    return from_json(json.loads((files("zerotrain.check.dsschema") / f"{version}.json").read_text(encoding="utf-8")))


def from_json(content: Mapping[str, Any]) -> Schema:
    """Returns a schema from the content of a snapshot, in which only what differs from a default is written."""
    return Schema(
        version=content["version"],
        sections={path: _section(entry) for path, entry in content["sections"].items()},
        removed=content["removed"],
        optimizers={name: _signature(entry) for name, entry in content["optimizers"].items()},
        schedulers={name: _signature(entry) for name, entry in content["schedulers"].items()},
    )


def _section(entry: Mapping[str, Any]) -> Section:
    keys = {name: {field: _frozen(value) for field, value in key.items()} for name, key in entry["keys"].items()}
    return Section(entry["strict"], {name: Key(**key) for name, key in keys.items()})


def _signature(entry: Mapping[str, Any]) -> Signature:
    return Signature(
        entry["params"],
        tuple(entry.get("required", ())),
        entry.get("drops_unknown", False),
        tuple(entry.get("torch_only", ())),
    )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
