"""Writes what the installed DeepSpeed reads in its config to `zerotrain/check/dsschema/<version>.json`.

    python tools/snapshot.py            # write the installed version
    python tools/snapshot.py --check    # fail when the file of the installed version is not up to date

An older version is unpacked somewhere and put first on the path, without being installed:

    pip download --no-deps --no-binary :all: --no-build-isolation deepspeed==0.18.9 -d /tmp/old
    tar xzf /tmp/old/deepspeed-0.18.9.tar.gz -C /tmp/old
    PYTHONPATH=/tmp/old/deepspeed-0.18.9 python tools/snapshot.py

Three sources, in this order. The real parser is run on mappings that write down what it asks them for, and with a key
it cannot know, which shows the sections that refuse one. The pydantic models of those sections are read field by field.
What is read later than at parsing stands in `snapshot_late.py`, and every name there is looked up in DeepSpeed's text:
the tool fails when it is gone. The parameters of optimizers and schedulers come from the text too; where an optimizer
is torch's own, from the installed torch.
"""

from __future__ import annotations

import os

os.environ["DS_ACCELERATOR"] = "cpu"  # some defaults go by what the machine has

import argparse
import json
import logging
import sys
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal

import deepspeed  # noqa: TID253
from deepspeed.runtime import config as parser  # noqa: TID253
from deepspeed.runtime.config_utils import DeepSpeedConfigModel  # noqa: TID253
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from snapshot_late import LATE, REMOVED
from snapshot_signatures import optimizers, schedulers, texts_of

NEWEST = "0.19.8"
"""The version `snapshot_late.py` is written for; in an older one, names that are not there are left out."""
HOME = Path(__file__).parents[1] / "zerotrain" / "check" / "dsschema"
VERSION = deepspeed.__version__.partition("+")[0].strip()
UNKNOWN = "zerotrain_unknown"
NEEDED = {"optimizer": {"type": "Adam"}, "scheduler": {"type": "WarmupLR"}}
"""What a section must hold for the parser to look at the rest of it."""

Entry = dict[str, Any]
Sections = dict[str, Entry]


class Asked(dict[str, Any]):
    """A mapping that writes down which keys it is asked for, and with which default."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        super().__init__(content)
        self.asked: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        if self.asked.get(key) is None:
            self.asked[key] = default
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self.asked.setdefault(key, None)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.asked.setdefault(str(key), None)
        return super().__contains__(key)

    def keys(self) -> Any:
        return self

    def __copy__(self) -> Asked:
        return self

    def __deepcopy__(self, memo: Any) -> Asked:
        return self


def snapshot() -> Entry:
    """Returns the whole content of the snapshot of the installed version."""
    removed = _removed()
    sections = _sections(set(removed))
    _add_late(sections)
    _mark(sections)
    _open_removed(sections)
    return {
        "version": VERSION,
        "sections": sections,
        "removed": removed,
        "optimizers": optimizers(),
        "schedulers": schedulers(),
    }


def _sections(removed: set[str]) -> Sections:
    sections: Sections = {}
    waiting = [""]
    while waiting:
        path = waiting.pop()
        asked, model = _ask(path)
        if model is not None:
            sections |= _model_sections(path, model)
        elif asked:
            names = [name for name in asked if name != UNKNOWN and (path or name not in removed)]
            sections[path] = {"strict": False, "keys": {name: _raw_key(asked[name]) for name in names}}
            waiting += [f"{path}.{name}" if path else name for name in names]
    sections["pipeline"] = {
        "strict": False,
        "keys": {name: _raw_key(default) for name, default in parser.get_pipeline_config({}).items()},
    }
    return sections


def _mark(sections: Sections) -> None:
    """Marks every key whose value is a section."""
    for path in sections:
        parent, _, name = path.rpartition(".")
        if path and name in sections.get(parent, {"keys": {}})["keys"]:
            sections[parent]["keys"][name] = {"kinds": ["dict"]} | sections[parent]["keys"][name] | {"section": True}


def _ask(path: str) -> tuple[dict[str, Any], type[BaseModel] | None]:
    """Runs the parser on one section; returns what it asks it for, or the model that refuses the unknown key in it."""
    section = Asked({UNKNOWN: 1} | NEEDED.get(path, {}))
    try:
        parser.DeepSpeedConfig(_within(path, section))
    except ValidationError as refusal:
        return section.asked, _refusing_model(refusal)
    except Exception:  # a value that is no section: the parser fails over it in its own ways
        pass
    return section.asked, None


def _refusing_model(refusal: ValidationError) -> type[BaseModel] | None:
    for error in refusal.errors():
        if error["type"] == "extra_forbidden" and error["loc"][-1] == UNKNOWN:
            model = next(model for model in _models(DeepSpeedConfigModel) if model.__name__ == refusal.title)
            for name in error["loc"][:-1]:
                model = _submodel(model.model_fields[str(name)].annotation)
                assert model is not None
            return model
    return None


def _models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        yield model
        yield from _models(model)


def _submodel(annotation: Any) -> type[BaseModel] | None:
    kinds = typing.get_args(annotation) or (annotation,)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _model_sections(path: str, model: type[BaseModel]) -> Sections:
    """Returns the section a model describes and the ones inside it."""
    keys: dict[str, Entry] = {}
    sections: Sections = {path: {"strict": True, "keys": keys}}
    for field_name, field in model.model_fields.items():
        inner = _submodel(field.annotation)
        name, *aliases = [field.alias, field_name] if inner and field.alias else [field_name, field.alias]
        aliases = [alias for alias in aliases if alias]
        keys[str(name)] = _field_key(field, aliases, inner is not None)
        if inner:
            for spelling in (name, *aliases):
                sections |= _model_sections(f"{path}.{spelling}", inner)
    return sections


def _field_key(field: FieldInfo, aliases: list[str], is_section: bool) -> Entry:
    kinds, choices = _kinds(field.annotation)
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    entry = _tidy({"kinds": kinds, "choices": choices, "aliases": aliases, "section": is_section})
    default = None if is_section else _plain(field.get_default(call_default_factory=True))
    if default is not None:
        entry["default"] = default
    if extra.get("deprecated"):
        entry["deprecated"] = extra.get("new_param", "")
    for bound in field.metadata:
        for name, meaning in (("ge", "minimum"), ("gt", "above"), ("le", "maximum"), ("lt", "below")):
            if getattr(bound, name, None) is not None:
                entry[meaning] = getattr(bound, name)
    return entry


def _kinds(annotation: Any) -> tuple[list[str], list[Any]]:
    """Returns the JSON kinds and the only values an annotation allows; both empty when it says nothing."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, UnionType):
        parts = [_kinds(part) for part in typing.get_args(annotation)]
        kinds = [kind for part in parts for kind in part[0]]
        return (kinds if all(part[0] for part in parts) else []), [value for part in parts for value in part[1]]
    if origin is Literal:
        return sorted({type(value).__name__ for value in typing.get_args(annotation)}), list(
            typing.get_args(annotation)
        )
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        values = [member.value for member in annotation]
        return [type(values[0]).__name__], values
    return _KINDS.get(origin or annotation, ["dict"] if _submodel(annotation) else []), []


_KINDS: dict[Any, list[str]] = {
    bool: ["bool"],
    int: ["int"],
    float: ["float", "int"],
    str: ["str"],
    Path: ["str"],
    list: ["list"],
    tuple: ["list"],
    dict: ["dict"],
    NoneType: ["null"],
}


def _raw_key(default: Any) -> Entry:
    if default is None or isinstance(default, dict):
        return {}
    return {"kinds": _KINDS[type(default)], "default": _plain(default)}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)  # some are of a class of DeepSpeed's that prints itself with commas
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, bool | float | str | list | NoneType) else None


def _tidy(entry: Entry) -> Entry:
    """Returns an entry without what is empty."""
    return {name: value for name, value in entry.items() if value}


def _add_late(sections: Sections) -> None:
    for path, file, keys in LATE:
        for name, fields in keys.items():
            known = sections.get(path, {"keys": {}})["keys"].get(name)
            if known is not None or name in texts_of(file):
                section = sections.setdefault(path, {"strict": False, "keys": {}})
                section["keys"][name] = (known or {}) | _true_here(path, name, fields, section["strict"])
            elif VERSION == NEWEST:
                raise SystemExit(f"{file} of DeepSpeed {VERSION} no longer says `{name}` of `{path}`")


def _true_here(path: str, name: str, fields: Entry, strict: bool) -> Entry:
    """Returns the fields, without limits that this version does not hold in a section it checks at parsing."""
    limits = {"choices", "minimum"} & fields.keys()
    if not strict or not limits:
        return fields
    wrong = UNKNOWN if "choices" in fields else fields["minimum"] - 1
    try:
        parser.DeepSpeedConfig(_within(path, {name: wrong}))
    except ValidationError:
        return fields
    return {field: value for field, value in fields.items() if field not in limits}


def _within(path: str, section: Entry) -> Entry:
    """Returns a config that has nothing but one section."""
    for name in reversed(path.split(".") if path else []):
        section = {name: section}
    section["train_batch_size"] = 1
    return section


def _open_removed(sections: Sections) -> None:
    """Leaves the inside of sections open that the newest version has no more, since it is not described in full."""
    for path in list(sections):
        if path.partition(".")[0] in REMOVED:
            del sections[path]
            if path in sections[""]["keys"]:
                sections[""]["keys"][path] = {"kinds": ["dict"], "section": True}


def _removed() -> dict[str, str]:
    top = getattr(parser, "_REMOVED_TOP_LEVEL_CONFIG_KEYS", {})
    zero = getattr(parser, "_REMOVED_ZERO_CONFIG_KEYS", {})
    return {path: REMOVED[path] for path in (*top, *(f"zero_optimization.{name}" for name in zero))}


def text_of(content: Entry) -> str:
    """Returns the content as text, a key to a line."""
    lines = ["{"]
    for name, value in sorted(content.items()):
        if name == "version":
            lines.append(f'  "version": {json.dumps(value)}')
        elif name == "sections":
            lines += ['  "sections": {', *_section_lines(value), "  },"]
        else:
            lines += [f'  "{name}": {{', *_lines(value, "    "), "  },"]
    return "\n".join([*lines, "}"]) + "\n"


def _section_lines(sections: Sections) -> Iterator[str]:
    for path, section in sorted(sections.items()):
        yield f'    {json.dumps(path)}: {{"strict": {json.dumps(section["strict"])}, "keys": {{'
        yield from _lines(section["keys"], "      ")
        yield "    }}" + "," * (path != max(sections))


def _lines(entries: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, entry in sorted(entries.items()):
        yield f"{indent}{json.dumps(name)}: {json.dumps(entry, sort_keys=True)}" + "," * (name != max(entries))


def main() -> int:
    """Writes the snapshot, or with `--check` compares it."""
    arguments = argparse.ArgumentParser(description="Writes what the installed DeepSpeed reads in its config.")
    arguments.add_argument("--check", action="store_true", help="fail when the file is not up to date")
    is_check = arguments.parse_args().check
    logging.disable(logging.CRITICAL)
    file, text = HOME / f"{VERSION}.json", text_of(snapshot())
    if not is_check:
        file.write_text(text, encoding="utf-8")
        return 0
    if file.exists() and file.read_text(encoding="utf-8") == text:
        return 0
    print(f"{file.name} is not up to date: python tools/snapshot.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
