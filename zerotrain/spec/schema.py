"""The JSON Schema of a spec, with the field docstrings as help text."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from zerotrain.spec.invalid import sections_of
from zerotrain.spec.run import RunSpec

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def spec_schema() -> dict[str, Any]:
    """Returns the JSON Schema (draft 2020-12) of a spec file."""
    schema = RunSpec.model_json_schema()
    for model in _sections(RunSpec, set()):
        described = schema["$defs"].get(model.__name__) if model is not RunSpec else schema
        if described is not None:
            _describe(described, field_docs(model))
    extends = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    schema["properties"]["extends"] = {**extends, "description": "Files this one is laid over, relative to it."}
    # A file that extends others need not say everything itself.
    whole = {"if": {"required": ["extends"]}, "else": {"required": schema.pop("required")}}
    return {"$schema": _DIALECT, "title": "A run of zerotrain", **schema, **whole}


def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """Returns the docstring under each field of a section, its parents' fields included."""
    docs: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if issubclass(owner, BaseModel) and owner is not BaseModel:
            docs |= dict(_own_docs(owner))
    return docs


def _own_docs(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    body = ast.parse(inspect.getsource(model)).body[0]
    assert isinstance(body, ast.ClassDef)
    for field, text in zip(body.body, body.body[1:], strict=False):
        is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
            yield field.target.id, inspect.cleandoc(str(text.value.value))  # type: ignore[attr-defined]


def _describe(schema: dict[str, Any], docs: dict[str, str]) -> None:
    for name, described in schema.get("properties", {}).items():
        if name in docs:
            described["description"] = " ".join(docs[name].split())


def _sections(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    if model in seen:
        return
    seen.add(model)
    yield model
    for field in model.model_fields.values():
        for inner in sections_of(field):
            yield from _sections(inner, seen)
