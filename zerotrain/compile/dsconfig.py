"""The configuration DeepSpeed reads, with the origin of every value in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Target = Literal["zerotrain", "deepspeed", "hf", "accelerate"]
"""Who reads the configuration: a run of ours, a script around `deepspeed.initialize`, HF Trainer, or Accelerate."""

ZEROTRAIN = "zerotrain"
"""The source of a value that is the same in every run."""


@dataclass(frozen=True)
class Setting:
    """One compiled value."""

    value: Any
    source: str
    """Dotted key of the spec the value comes from, or `zerotrain`."""
    why: str
    """How the value follows from it."""


Section = dict[str, "Setting | Section"]


@dataclass(frozen=True)
class DeepSpeedConfig:
    """What DeepSpeed reads. Only `compile_spec` makes one."""

    section: Section

    def as_dict(self) -> dict[str, Any]:
        """Returns a plain dictionary, new at every call."""
        return _values(self.section)

    def as_json(self) -> str:
        """Returns the JSON text, the same for the same values; ValueError when a number is not finite."""
        return json.dumps(self.as_dict(), indent=2, allow_nan=False) + "\n"

    def settings(self) -> dict[str, Setting]:
        """Returns every value under its dotted key, in the order of the JSON."""
        return dict(_walk(self.section, ""))


def _values(section: Section) -> dict[str, Any]:
    return {
        key: _values(entry) if isinstance(entry, Mapping) else json.loads(json.dumps(entry.value))
        for key, entry in section.items()
    }


def _walk(section: Section, prefix: str) -> Iterator[tuple[str, Setting]]:
    for key, entry in section.items():
        path = f"{prefix}.{key}" if prefix else key
        if isinstance(entry, Mapping):
            yield from _walk(entry, path)
        else:
            yield path, entry
