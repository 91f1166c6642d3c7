"""Pydantic's verdicts as findings: one per place, with what was found, what is expected and a did-you-mean."""

from __future__ import annotations

import copy
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from zerotrain.diagnostic import Diagnostic, Fix, error
from zerotrain.spec.scalars import scalar
from zerotrain.spec.suggest import evident, listed, nearest
from zerotrain.spec.tree import Path, Tree, dotted

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "`true` or `false`",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "`null`",
    "greater_than": "a number greater than {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number less than {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "too_short": "at least {min_length} item(s)",
    "too_long": "at most {max_length} item(s)",
    "literal_error": "{expected}",
    "too_few_items": "a list with more items",
    "finite_number": "a finite number",
    "count_type": "a whole number such as `300` or `10M`",
    "length_type": "a length such as `200 steps`",
    "time_type": "a span of time such as `30 minutes`",
}


@dataclass(frozen=True)
class _Verdict:
    path: Path
    kind: str
    context: Mapping[str, Any]
    message: str
    schema_path: tuple[str | int, ...]


def findings(invalid: ValidationError, tree: Tree, model: type[BaseModel]) -> list[Diagnostic]:
    """Returns every error of a validation as a finding at its place, in the order of the file."""
    verdicts = _verdicts(invalid, tree.data, model)
    by_path: dict[Path, list[_Verdict]] = {}
    for verdict in verdicts:
        by_path.setdefault(verdict.path, []).append(verdict)
    found = [_finding(path, group, tree, model) for path, group in by_path.items() if not _superseded(path, by_path)]
    return sorted(found, key=lambda f: (f.place.file or "", f.place.line or 0, f.place.column or 0))


def _verdicts(invalid: ValidationError, data: Any, model: type[BaseModel]) -> list[_Verdict]:
    return [_verdict(raw, data, model) for raw in invalid.errors(include_url=False, include_input=False)]


def _verdict(raw: Any, data: Any, model: type[BaseModel]) -> _Verdict:
    kind = raw["type"]
    path = _real_path(_without_tags(raw["loc"], model), data, keeps_last=kind in ("missing", "extra_forbidden"))
    if kind == "missing" and isinstance(path[-1], int):
        return _Verdict(path[:-1], "too_few_items", {}, raw["msg"], raw["loc"])
    return _Verdict(path, kind, raw.get("ctx", {}), raw["msg"], raw["loc"])


def _without_tags(location: tuple[str | int, ...], model: type[BaseModel]) -> tuple[str | int, ...]:
    """Drops the types of sections that may be one of several, which pydantic puts behind the section's key."""
    models, kept = [model], list[str | int]()
    for part in location:
        tagged = [m for m in models if len(models) > 1 and _tag(m) == part]
        if tagged:
            models = tagged
            continue
        kept.append(part)
        inside = [
            m for owner in models if part in owner.model_fields for m in sections_of(owner.model_fields[str(part)])
        ]
        models = models if isinstance(part, int) else inside
    return tuple(kept)


def _real_path(location: tuple[str | int, ...], data: Any, keeps_last: bool) -> Path:
    """Drops the names of the kinds a value may be of, which pydantic puts among the keys."""
    path: list[str | int] = []
    for index, part in enumerate(location):
        is_last = index == len(location) - 1
        if _holds(data, part):
            data = data[part]
        elif not (is_last and keeps_last):
            continue
        path.append(part)
    return tuple(path)


def _holds(data: Any, part: str | int) -> bool:
    if isinstance(data, list):
        return isinstance(part, int) and part < len(data)
    return isinstance(data, Mapping) and part in data


def _superseded(path: Path, by_path: Mapping[Path, list[_Verdict]]) -> bool:
    """Tells whether an error inside this value says more: of a union, the member the user meant."""
    deeper = any(len(other) > len(path) and other[: len(path)] == path for other in by_path)
    return deeper and all(verdict.kind.endswith(("_type", "_required", "literal_error")) for verdict in by_path[path])


def _finding(path: Path, group: list[_Verdict], tree: Tree, model: type[BaseModel]) -> Diagnostic:
    first = group[0]
    if first.kind == "extra_forbidden":
        return _unknown_key(path, first, tree, model)
    if first.kind == "missing":
        return _missing_key(path, tree)
    if first.kind == "union_tag_not_found":
        members = models_at(model, first.schema_path)
        return _missing_key((*path, "type"), tree, listed(sorted(filter(None, map(_tag, members)))))
    if first.kind == "union_tag_invalid":
        return _unknown_type(path, first, tree)
    return _invalid_value(path, group, tree, model)


def _unknown_key(path: Path, verdict: _Verdict, tree: Tree, model: type[BaseModel]) -> Diagnostic:
    name, parent = str(path[-1]), path[:-1]
    known = known_keys(model, verdict.schema_path[:-1])
    near = nearest(name, known)
    elsewhere = list(dict.fromkeys(dotted((*home, name)) for home in _homes(model, name) if home != parent))
    if near is None and elsewhere:
        help = f"did you mean {listed(elsewhere[:3])}?"
    else:
        help = f"did you mean `{near}`?" if near else f"known keys here: {listed(sorted(known), 'and')}"
    where = f"`{dotted(parent)}`" if parent else "a spec"
    sure = evident(name, known)
    fix = Fix(f"rename to `{sure}`", dotted(path), sure, renames=True) if sure else None
    finding = error("ZT005", "unknown-key", f"{where} has no key `{name}`", help=help)
    return _with_fix(finding, fix).at(tree.place(path, on_key=True))


def _with_fix(finding: Diagnostic, fix: Fix | None) -> Diagnostic:
    return Diagnostic(finding.code, finding.name, finding.severity, finding.message, finding.place, finding.help, fix)


def _missing_key(path: Path, tree: Tree, choices: str | None = None) -> Diagnostic:
    parent, name = path[:-1], path[-1]
    where = f"`{dotted(parent)}`" if parent else "the spec"
    help = f"add `{name}:` with {choices}" if choices else f"add `{name}:`"
    return error("ZT006", "missing-key", f"{where} has no `{name}`", help=help).at(_key_place(path, tree))


def _key_place(path: Path, tree: Tree) -> Any:
    place = tree.place(path[:-1], on_key=True)
    return type(place)(place.file, place.line, place.column, dotted(path), place.source_line, place.width)


def _unknown_type(path: Path, verdict: _Verdict, tree: Tree) -> Diagnostic:
    tags, tag = _tags(verdict), str(verdict.context.get("tag"))
    near = nearest(tag, tags)
    help = f"did you mean `{near}`?" if near else f"use {listed(tags)}"
    message = f"`{dotted(path)}.type` is `{tag}`, expected {listed(tags)}"
    return error("ZT007", "invalid-value", message, help=help).at(tree.place((*path, "type")))


def _tags(verdict: _Verdict) -> list[str]:
    expected = verdict.context.get("expected_tags", "")
    return [tag.strip().strip("'") for tag in expected.split(",") if tag.strip()]


def _invalid_value(path: Path, group: list[_Verdict], tree: Tree, model: type[BaseModel]) -> Diagnostic:
    value = _value_at(tree.data, path)
    takes_numbers = any(verdict.kind in ("float_type", "int_type") for verdict in group)
    if takes_numbers and isinstance(value, str) and isinstance(number := scalar(value), int | float):
        return _quoted_number(path, value, number, tree, model)
    own_words = [v.message.removeprefix("Value error, ") for v in group if v.kind == "value_error"]
    if own_words:
        finding = error("ZT007", "invalid-value", own_words[0])
    else:
        expected = list(dict.fromkeys(filter(None, map(_expectation, group))))
        message = f"`{dotted(path)}` is {_shown(value)}, expected {' or '.join(expected) or group[0].message}"
        finding = error("ZT007", "invalid-value", message, help=_value_help(value, group))
    return finding.at(tree.place(path))


def _quoted_number(path: Path, value: str, number: float, tree: Tree, model: type[BaseModel]) -> Diagnostic:
    finding = error("ZT008", "quoted-number", f'`{dotted(path)}` is the text `"{value}"`', help="remove the quotes")
    fix = Fix("remove the quotes", dotted(path), number) if _would_be_valid(path, number, tree.data, model) else None
    return _with_fix(finding, fix).at(tree.place(path))


def _would_be_valid(path: Path, value: Any, data: Any, model: type[BaseModel]) -> bool:
    changed = copy.deepcopy(data)
    _value_at(changed, path[:-1])[path[-1]] = value
    try:
        model.model_validate(changed)
    except ValidationError as invalid:
        return all(verdict.path != path for verdict in _verdicts(invalid, changed, model))
    return True


def _expectation(verdict: _Verdict) -> str | None:
    template = _EXPECTED.get(verdict.kind)
    if verdict.kind == "literal_error":
        return verdict.context["expected"].replace("'", "`")
    return template.format(**verdict.context) if template else None


def _value_help(value: Any, group: list[_Verdict]) -> str | None:
    literals = [v.context["expected"] for v in group if v.kind == "literal_error"]
    words = [word.strip(" '") for text in literals for word in text.replace(" or ", ",").split(",")]
    near = nearest(str(value), words) if isinstance(value, str) else None
    if near:
        return f"did you mean `{near}`?"
    spoken = str(value).lower() in ("yes", "no", "on", "off") and any(v.kind == "bool_type" for v in group)
    return f"write `{'true' if str(value).lower() in ('yes', 'on') else 'false'}`" if spoken else None


def _shown(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, str):
        return f"`{value}`" if len(value) < 60 else "a long text"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text}`" if len(text) < 60 else "a very long number"


def _value_at(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data


def models_at(model: type[BaseModel], location: tuple[str | int, ...]) -> list[type[BaseModel]]:
    """Returns the sections that may stand at a location of pydantic's, which names union members among the keys."""
    models: list[type[BaseModel]] = [model]
    for part in location:
        inside = [
            m for owner in models if part in owner.model_fields for m in sections_of(owner.model_fields[str(part)])
        ]
        chosen = [m for m in models if _tag(m) == part or m.__name__ == part]
        models = inside or chosen or models
    return models


def known_keys(model: type[BaseModel], location: tuple[str | int, ...]) -> set[str]:
    """Returns the keys that may stand at a location of pydantic's."""
    return {name for owner in models_at(model, location) for name in owner.model_fields}


def _homes(model: type[BaseModel], name: str, path: Path = (), depth: int = 0) -> Iterator[Path]:
    """Yields the paths under which a key of that name exists."""
    if name in model.model_fields:
        yield path
    for field, info in model.model_fields.items() if depth < 3 else ():
        for inner in sections_of(info):
            yield from (home for home in _homes(inner, name, (*path, field), depth + 1))


def sections_of(annotated: Any) -> list[type[BaseModel]]:
    """Returns the sections a field may hold."""
    annotation = getattr(annotated, "annotation", annotated)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if isinstance(annotation, types.UnionType) or get_origin(annotation) is not None:
        return [m for argument in get_args(annotation) for m in sections_of(argument)]
    return []


def _tag(model: type[BaseModel]) -> str | None:
    info = model.model_fields.get("type")
    values = get_args(info.annotation) if info else ()
    return values[0] if len(values) == 1 else None
