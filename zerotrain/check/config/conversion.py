"""What DeepSpeed makes of values, and how messages speak of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from pydantic import TypeAdapter, ValidationError

from zerotrain.check.config.case import AUTO
from zerotrain.check.config.entries import Entry, joined
from zerotrain.check.dsschema.schema import Key

_LAX: Mapping[str, TypeAdapter[Any]] = {
    "bool": TypeAdapter(bool),
    "int": TypeAdapter(int),
    "float": TypeAdapter(float),
    "str": TypeAdapter(str),
    "list": TypeAdapter(list[Any]),
    "dict": TypeAdapter(dict[str, Any]),
    "null": TypeAdapter(None),
}
"""What DeepSpeed converts by itself where it checks: `"3"` for a number, `"yes"` for a switch."""

_KIND_NAMES: Mapping[str, str] = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "list": "a list",
    "dict": "a section",
    "null": "null",
}

_PYTHON_NUMBERS: Mapping[str, Callable[[Any], int | float]] = {
    "fp16.loss_scale": float,
    "fp16.loss_scale_window": int,
    "fp16.min_loss_scale": int,
}
"""Numbers DeepSpeed converts as Python does, and refuses when true, false or infinite (runtime/precision_config.py)."""

_TEXT_LISTS = frozenset(
    {"zero_optimization.leaf_module.classes", "zero_optimization.leaf_module.name_suffixes"}
    | {"zero_optimization.leaf_module.names"}
)
"""Lists of texts that may be one text (runtime/zero/leaf_module_config.py)."""

_PLACEHOLDER = re.compile(
    r"[A-Z][A-Za-z0-9]*(_[A-Za-z0-9]+)+,?$|[A-Z][A-Z0-9]{3,},?$|.*(\$\{|\$\(|\{\{|<[a-z_ ]+>|%\()", re.DOTALL
)
"""A word in capitals, after which HJSON keeps the comma, or the marks of a template language."""
_WORDS = frozenset({"AUTO", "FALSE", "NONE", "NULL", "TRUE"})

_HUGE = 10**60

REFUSED = object()
"""In place of a value DeepSpeed refuses."""


def is_placeholder(value: Any, key: Key) -> bool:
    """Tells whether a value is text that a script is to replace by one of another kind."""
    is_word = "str" in key.kinds and not key.choices
    choices = {str(choice).lower() for choice in key.choices}
    return not is_word and looks_like_placeholder(value) and value.lower() not in choices


def looks_like_placeholder(value: Any) -> bool:
    """Tells whether a value is a word in capitals, or has the marks of a template language."""
    return isinstance(value, str) and value.rstrip(",") not in _WORDS and _PLACEHOLDER.match(value) is not None


def converted(entry: Entry, key: Key) -> Any:
    """Returns the value DeepSpeed makes of a value, or `REFUSED` when it refuses it."""
    path, value = joined(entry.parent, entry.name), entry.value
    if path in _PYTHON_NUMBERS and not _is_number_to_python(value, _PYTHON_NUMBERS[path]):
        return REFUSED
    if path in _TEXT_LISTS:
        return value if isinstance(value, str) or (isinstance(value, list) and are_texts(value)) else REFUSED
    if isinstance(value, str) and key.default == AUTO and {"str", "int"} <= set(key.kinds):
        return REFUSED
    exact = [kind for kind in key.kinds if _is_exactly(kind, value)]
    for kind in exact or key.kinds:
        try:
            return _LAX[kind].validate_python(value)
        except (ValidationError, OverflowError):
            continue
    return REFUSED


def _is_number_to_python(value: Any, convert: Callable[[Any], int | float]) -> bool:
    try:
        number = convert(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return not isinstance(value, bool) and (isinstance(number, int) or isfinite(number))


def shown(value: Any) -> str:
    """Returns a value in words for a message."""
    if isinstance(value, Mapping):
        return "a section"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return f'the text `"{value}"`'
    return f"`{text(value)}`"


def text(value: Any) -> str:
    """Returns a value as JSON writes it, shortened."""
    if value is None:
        return "null"
    if isinstance(value, int) and abs(value) >= _HUGE:
        return "a huge number"
    return str(value).lower() if isinstance(value, bool) else f"{value}"[:60]


def kinds_of(key: Key) -> str:
    """Returns the kinds of value a key takes, in words."""
    kinds = [kind for kind in key.kinds if kind != "int" or "float" not in key.kinds]
    return " or ".join(_KIND_NAMES[kind] for kind in kinds) or "a Python object, which a file cannot hold"


def _is_exactly(kind: str, value: Any) -> bool:
    python = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict, "null": type(None)}
    return type(value) is python[kind]


def are_texts(value: Any) -> bool:
    """Tells whether all that a value holds is text."""
    return isinstance(value, str | list | Mapping) and all(isinstance(item, str) for item in value)


def number_in(value: Any) -> int | float | None:
    """Returns the number a text holds, or None when it holds none."""
    if not isinstance(value, str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    whole = value.strip().lstrip("+-").isdigit()
    return int(value) if whole else number if isfinite(number) else None


def is_choice(entry: Entry) -> bool:
    """Tells whether a value is one of those its key takes."""
    key, value = entry.key, entry.value
    if key is None or value == AUTO or (value is None and "null" in key.kinds) or is_placeholder(value, key):
        return True
    if all(isinstance(choice, str) for choice in key.choices):
        spelled = value.lower() if isinstance(value, str) and key.any_case else value
        return spelled in [choice.lower() if key.any_case else choice for choice in key.choices]
    try:
        return _LAX["int"].validate_python(value) in key.choices
    except ValidationError:
        return False
