"""Plain (unquoted) scalars, by YAML 1.2's core schema instead of 1.1's, which PyYAML follows.

So `1e-4` is a number, and `yes`, `on` and `1:30` are text.
"""

from __future__ import annotations

import re

_LONGEST_NUMBER = 400
_INT = re.compile(r"^[-+]?[0-9][0-9_]*$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?$")
_BASES = {"0x": (re.compile(r"^0x[0-9a-fA-F]+$"), 16), "0o": (re.compile(r"^0o[0-7]+$"), 8)}
_CONSTANTS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


def scalar(text: str) -> object:
    """Returns the value of a plain scalar: null, a boolean, a number or text."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if len(text) > _LONGEST_NUMBER:
        return text
    if _INT.match(text):
        return int(text.replace("_", ""))
    pattern, base = _BASES.get(text[:2], (None, 10))
    if pattern is not None:
        return int(text[2:], base) if pattern.match(text) else text
    return float(text.replace("_", "")) if _FLOAT.match(text) else text
