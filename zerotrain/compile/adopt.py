"""A draft spec from a DeepSpeed config: compiled again, it gives the config it came from, as far as fields reach."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from pydantic import ValidationError

from zerotrain.compile.adopted import PLACEHOLDERS, SUBSTITUTES, fields_of, without_auto
from zerotrain.compile.compare import ABSENT, unequal
from zerotrain.compile.dsconfig import ZEROTRAIN, DeepSpeedConfig
from zerotrain.compile.emit import compile_spec
from zerotrain.compile.model import settle
from zerotrain.compile.raw import overwritten
from zerotrain.errors import SpecError
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.spec.run import RunSpec

_CARRIED = (
    "train_batch_size",
    "train_micro_batch_size_per_gpu",
    "gradient_accumulation_steps",
    "zero_optimization.cpu_offload",
    "zero_optimization.cpu_offload_param",
    "zero_optimization.cpu_offload_use_pin_memory",
    "zero_optimization.stage3_gather_fp16_weights_on_model_save",
)
"""Keys that are carried over by others: the batch by its arithmetic, older names by newer ones."""


@dataclass(frozen=True)
class Knowledge:
    """What a version of DeepSpeed makes of a config."""

    spelled: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    """Returns a config with one name for each key."""
    implied: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    """Returns what the keys that are not written are worth."""
    is_read: Callable[[str], bool]
    """Tells whether a dotted key is read."""


@dataclass(frozen=True)
class Draft:
    """A spec as plain values, and what a person has to look at."""

    spec: Mapping[str, Any]
    placeholders: Mapping[str, str]
    """Section or dotted key to what is to be put there."""
    left_out: Mapping[str, str]
    """Keys of the config that are not in the spec, with the reason."""
    changed: Mapping[str, str]
    """Keys that are compiled otherwise than they were, with both values."""


def adopt(
    config: Mapping[str, Any], name: str, knowledge: Knowledge, around: Surroundings, world_size: int | None = None
) -> Draft:
    """Returns the draft of a config, whatever its values are."""
    return _Adoption(config, knowledge, around).draft(name, world_size)


class _Adoption:
    def __init__(self, config: Mapping[str, Any], knowledge: Knowledge, around: Surroundings) -> None:
        self.knowledge, self.around = knowledge, around
        written, self.autos = without_auto(knowledge.spelled(config))
        self.written = written
        self.implied = knowledge.implied(written)
        self.knows_optimizer = False
        """True when the optimizer is one of ours, under whatever name: DeepSpeed's `Adam` is usually AdamW."""

    def draft(self, name: str, world_size: int | None) -> Draft:
        fields = fields_of(self.written, self.implied, world_size)
        spec, replaced = self._possible({"name": name, **fields.spec})
        placeholders = {key: PLACEHOLDERS[key] for key in dict.fromkeys((*fields.open, *replaced))}
        self.knows_optimizer = "optimizer" not in placeholders
        left_out = dict.fromkeys(self.autos, "`auto`, which a framework fills in")
        bare = self._compiled(spec)
        raw: dict[str, Any] = {}
        for key, value in self._uncarried(bare):
            reason = self._refusal(key, value, bare)
            if reason is None:
                _put(raw, self._path(key), value)
            else:
                left_out[key] = reason
        spec = {**spec, "deepspeed": raw} if raw else spec
        changed = dict(self._changed(self._compiled(spec), (*left_out, *placeholders)))
        return Draft(spec, placeholders, left_out, changed)

    def _possible(self, spec: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Returns the spec without values that have no meaning, and the sections for which it has a substitute."""
        spec = copy.deepcopy(spec)
        for path in _problems(spec):
            _remove(spec, path)
        replaced = list(dict.fromkeys(path[0] for path in _problems(spec)))
        try:
            settle(RunSpec.model_validate(_substituted(spec, replaced)), self.around)
        except SpecError:
            replaced += ["batch", "hardware"]
        return _substituted(spec, replaced), replaced

    def _compiled(self, spec: Mapping[str, Any]) -> DeepSpeedConfig:
        return compile_spec(settle(RunSpec.model_validate(spec), self.around), "deepspeed")

    def _unequal(self, compiled: DeepSpeedConfig) -> Iterator[tuple[str, Any, Any]]:
        values = self.knowledge.spelled(compiled.as_dict())
        for key, old, new in unequal(self.written, values, self.implied, self.knowledge.implied(values)):
            if not key.startswith(_CARRIED) and not (key == "optimizer.type" and self.knows_optimizer):
                yield key, old, new

    def _uncarried(self, compiled: DeepSpeedConfig) -> Iterator[tuple[str, Any]]:
        """Yields what is written in the config and not in what the spec is compiled to."""
        return ((key, old) for key, old, _ in self._unequal(compiled) if old is not ABSENT)

    def _refusal(self, key: str, value: Any, compiled: DeepSpeedConfig) -> str | None:
        """Returns why a key cannot stand among the raw keys of the spec; None when it can."""
        if not self.knowledge.is_read(key):
            return "DeepSpeed does not read it"
        if isinstance(value, float) and not isfinite(value):
            return "JSON has no such number"
        raw: dict[str, Any] = {}
        _put(raw, self._path(key), value)
        refused = next(overwritten(compiled.section, raw), None)
        return re.sub(r"^`[^`]+` ", "", refused.message) if refused else None

    def _changed(self, compiled: DeepSpeedConfig, told: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        """Yields what is compiled otherwise than DeepSpeed would have taken it."""
        sources = {self._canonical(key): setting.source for key, setting in compiled.settings().items()}
        for key, old, new in self._unequal(compiled):
            if new is ABSENT or any(key == known or key.startswith(f"{known}.") for known in told):
                continue
            was = self.implied.get(key, ABSENT) if old is ABSENT else old
            source = sources.get(key, ZEROTRAIN)
            whose = "always so" if source == ZEROTRAIN else f"from `{source}`"
            yield key, f"{_plain(was)} becomes {_plain(new)}, {whose}"

    def _canonical(self, key: str) -> str:
        nested: dict[str, Any] = {}
        _put(nested, tuple(key.split(".")), None)
        return next(iter(_paths(self.knowledge.spelled(nested))))

    def _path(self, key: str) -> tuple[str, ...]:
        return _paths(self.written)[key]


def _paths(config: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    """Returns the path of every dotted key."""
    paths: dict[str, tuple[str, ...]] = {}
    for key, value in config.items():
        here = (*path, str(key))
        paths |= _paths(value, here) if isinstance(value, Mapping) and value else {".".join(here): here}
    return paths


def _put(owner: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        owner = owner.setdefault(name, {})
    owner[path[-1]] = copy.deepcopy(value)


def _problems(spec: Mapping[str, Any]) -> list[tuple[str, ...]]:
    try:
        RunSpec.model_validate(spec)
    except ValidationError as invalid:
        return [tuple(map(str, problem["loc"])) for problem in invalid.errors()]
    return []


def _remove(section: Any, path: tuple[str, ...]) -> None:
    """Removes what stands at a path, in which pydantic puts the types of sections among the keys."""
    for name in path:
        if isinstance(section.get(name), dict):
            section = section[name]
        elif name in section:
            del section[name]
            return


def _substituted(spec: Mapping[str, Any], replaced: list[str]) -> dict[str, Any]:
    return {**spec, **{name: SUBSTITUTES[name] for name in replaced}}


def _plain(value: Any) -> str:
    if value is ABSENT:
        return "what is not set"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
