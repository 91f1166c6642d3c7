"""What a rule about a DeepSpeed config looks at: the config, who hands it to DeepSpeed, and on which machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from zerotrain.check.dsschema.schema import Schema, schema_of
from zerotrain.compile.compare import leaves
from zerotrain.diagnostic import Diagnostic, Fix, Place, Severity
from zerotrain.hardware.gpus import Gpu

Reader = Literal["raw", "hf", "accelerate"]
"""Who hands the config to DeepSpeed: a script of one's own, HF Trainer, or Accelerate."""

Model = Literal["dense", "moe", "moe-layers"]
"""What is trained: no experts, the stacked experts of Hugging Face, or layers of `deepspeed.moe.layer.MoE`."""

AUTO = "auto"

_YES = frozenset({"1", "on", "t", "true", "y", "yes"})
_OLD_NAMES = {"offload_optimizer": "cpu_offload", "offload_param": "cpu_offload_param"}


@dataclass(frozen=True)
class ConfigCase:
    """One DeepSpeed config under examination."""

    config: Mapping[str, Any]
    """As it is written; values may be of any kind."""
    reader: Reader = "raw"
    world_size: int | None = None
    """Ranks; None when nobody has said."""
    gpu: Gpu | None = None
    """What the ranks compute on; None when nobody has said."""
    gpus_per_node: int | None = None
    schema: Schema = field(default_factory=schema_of)
    model: Model | None = None
    """None when nobody has said."""
    is_compiled: bool = False
    """True when zerotrain runs it: then its loop, not the config, does what DeepSpeed leaves to the script."""

    def get(self, path: str) -> Any:
        """Returns what stands at a dotted path, or None when nothing does. `auto` is returned as it is."""
        value: Any = self.config
        for part in path.split("."):
            if not isinstance(value, Mapping) or part not in value:
                return None
            value = value[part]
        return value

    def has(self, path: str) -> bool:
        """Tells whether something stands at a dotted path, even `null`."""
        parent, _, name = path.rpartition(".")
        section = self.get(parent) if parent else self.config
        return isinstance(section, Mapping) and name in section

    def mapping(self, path: str) -> Mapping[str, Any]:
        """Returns the section at a dotted path; empty when nothing or something else stands there."""
        value = self.get(path) if path else self.config
        return value if isinstance(value, Mapping) else {}

    def value(self, path: str) -> Any:
        """Returns what is in force: what is written, under an alias too, else DeepSpeed's default.

        `auto` in a strict section is dropped by DeepSpeed, so it gives the default; a framework that fills it is not
        taken into account. A value of the wrong kind is returned as it is.
        """
        spelled, key = self.spelled(path), self.schema.key(path)
        if self.has(spelled) and not (self.get(spelled) == AUTO and self._is_strict(path)):
            return self.get(spelled)
        return key.default if key else None

    def spelled(self, path: str) -> str:
        """Returns a dotted path as the config spells it: each of its keys by the name that stands there.

        A key that stands nowhere, or only as `auto`, keeps its name.
        """
        known, written = "", ""
        for part in path.split("."):
            section, present = self.schema.section(known), self.mapping(written)
            names = section.spellings(part) if section else ()
            given = (name for name in (part, *names) if present.get(name, AUTO) != AUTO)
            known, written = joined(known, next(iter(names), part)), joined(written, next(given, part))
        return written

    def _is_strict(self, path: str) -> bool:
        section = self.schema.section(path.rpartition(".")[0])
        return section is not None and section.strict

    def number(self, path: str) -> float | None:
        """Returns the number in force at a path, or None when it is none."""
        value = self.value(path)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def on(self, path: str) -> bool:
        """Tells whether a switch is on: `fp16.enabled`.

        Strict sections read `1` and `"yes"` as true (pydantic); elsewhere Python's own truth counts. `auto` is off.
        """
        value = self.value(path)
        if value == AUTO:
            return False
        if not self._is_strict(path):
            return bool(value)
        return value.lower() in _YES if isinstance(value, str) else isinstance(value, bool | int | float) and value == 1

    @property
    def known_stage(self) -> int | None:
        """The ZeRO stage in force; None when what is written is none, or when a framework is to fill it."""
        section = self.get("zero_optimization")
        if isinstance(section, bool):  # the form of DeepSpeed 0.2, still read
            return int(section)
        if not isinstance(section, Mapping):
            return None if self.has("zero_optimization") else 0
        stage = section.get("stage", 0)
        if stage == AUTO:
            return 0 if self.reader == "raw" else None
        number = whole(int(stage) if isinstance(stage, bool) or stage in ("0", "1", "2", "3") else stage)
        return number if number in (0, 1, 2, 3) else None

    @property
    def stage(self) -> int:
        """The ZeRO stage in force; 0 when it is not known."""
        return self.known_stage or 0

    def device(self, which: str) -> str | None:
        """Returns `cpu` or `nvme` when `offload_optimizer` or `offload_param` is on, under its old name too."""
        device = self.value(f"zero_optimization.{which}.device")
        if isinstance(device, str) and device in ("cpu", "nvme"):
            return device
        return "cpu" if self.on(f"zero_optimization.{_OLD_NAMES[which]}") else None

    @property
    def optimizer(self) -> str | None:
        """The optimizer's type in lower case, or None when the config has none."""
        kind = self.get("optimizer.type")
        return kind.lower() if isinstance(kind, str) else None

    @property
    def precision(self) -> str:
        """The format weights are computed in: `fp16`, `bf16` or `fp32`."""
        if self.on("bf16.enabled") or (not self.has("bf16") and self.on("bfloat16.enabled")):
            return "bf16"
        return "fp16" if self.on("fp16.enabled") else "fp32"

    def leaves(self) -> Iterator[tuple[str, Any]]:
        """Yields every value that is not a section, with its dotted path."""
        yield from leaves(self.config)

    def error(self, key: str, message: str, *, help: str | None = None, fix: Fix | None = None) -> Diagnostic:
        """Returns a finding that DeepSpeed refuses this, at its value."""
        return Diagnostic("", "", Severity.ERROR, message, Place(key=key), help, fix)

    def warning(self, key: str, message: str, *, help: str | None = None, fix: Fix | None = None) -> Diagnostic:
        """Returns a finding that DeepSpeed ignores this or means something else by it, at its value."""
        return Diagnostic("", "", Severity.WARNING, message, Place(key=key), help, fix)

    def info(self, key: str, message: str, *, help: str | None = None, fix: Fix | None = None) -> Diagnostic:
        """Returns a finding that there is a better way, at its value."""
        return Diagnostic("", "", Severity.INFO, message, Place(key=key), help, fix)

    def refused_key(self, key: str, message: str, *, help: str | None = None, fix: Fix | None = None) -> Diagnostic:
        """Returns a finding that DeepSpeed refuses this key whatever its value, at the key."""
        return Diagnostic("", "", Severity.ERROR, message, Place(key=key, is_about_key=True), help, fix)

    def ignored_key(self, key: str, message: str, *, help: str | None = None, fix: Fix | None = None) -> Diagnostic:
        """Returns a finding that DeepSpeed ignores this key whatever its value, at the key."""
        return Diagnostic("", "", Severity.WARNING, message, Place(key=key, is_about_key=True), help, fix)


def joined(parent: str, name: str) -> str:
    """Returns the dotted path of a key in a section."""
    return f"{parent}.{name}" if parent else name


def whole(value: object) -> int | None:
    """Returns the whole number a value is, `5e8` and `2.0` too, or None."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
