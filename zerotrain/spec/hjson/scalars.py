"""Numbers, words and quoted text of HJSON, as the `hjson` library reads them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Refuse = Callable[..., None]
"""Called with a fact, a start, an end and a way out where `hjson` gives up; may raise NotHjson."""

_NUMBER = re.compile(r"(-?(?:0|[1-9]\d*))(\.\d+)?([eE][-+]?\d+)?[\t ]*(?=[,}\]#\r\n]|//|/\*|\Z)")
_CONSTANT = re.compile(r"(true|false|null)[^\S\r\n]*(?=[,}\]#\r\n]|//|/\*|\Z)")
_CONSTANTS = {"true": True, "false": False, "null": None}
_PLAIN = {'"': re.compile(r'[^"\\\x00-\x1f]*'), "'": re.compile(r"[^'\\\x00-\x1f]*")}
_ESCAPES = {
    '"': '"',
    "'": "'",
    "\\": "\\",
    "/": "/",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
}

_WORD = re.compile(r"(?:(?![,{}\[\]\n]|//|/\*|[ \t]#).)*")
_PLACEHOLDER = re.compile(
    r"(?:\$\{[^}\n]{1,200}\}|\$\w+|%\(\w+\)[a-z]|<[\w .-]{1,200}>|@\w+@|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)"
    r"(?=[\s,}\]]|\Z)"
)
_NOTHING_MORE = re.compile(r"\s*\Z|[^\S\n]*,?[^\S\n]*(?:\n|\Z|#|//|/\*)")
_LITERALS = {"True": True, "TRUE": True, "False": False, "FALSE": False, "None": None, "Null": None, "NULL": None}
_NOT_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_ODD_NUMBER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|(?=[\d.]*\d)[\d_]*\.?[\d_]*(?:[eE][-+]?\d*)?[A-Za-z%;]?)\Z")
_CERTAIN_NUMBER = re.compile(r"-?(?!0\d)(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\Z", re.ASCII)
_SHOWN = 80


class NotHjson(ValueError):
    """The `hjson` library refuses the text; says why and where."""

    def __init__(
        self, fact: str, start: int, end: int | None = None, help: str | None = None, *, is_fatal: bool = False
    ) -> None:
        super().__init__(fact)
        self.fact, self.start, self.end, self.help, self.is_fatal = fact, start, end or start + 1, help, is_fatal


@dataclass(frozen=True)
class Word:
    """Text without quotes, or a constant."""

    kind: Literal["bare-text", "placeholder", "python-literal", "odd-number", "not-a-number"] | None
    """None for `true`, `false` and `null`."""
    value: Any
    """What `hjson` makes of it: text to the end of the line."""
    meaning: Any
    """What was probably meant."""
    end: int
    """Where what was meant ends."""
    next: int
    """Where reading goes on."""
    swallows: bool = False
    """It takes more of its line into the text than a comma of its own or a comment."""


def number(text: str, start: int) -> tuple[float, int, int] | None:
    """Returns the number, where it ends and where reading goes on; None when this is none. Too great gives infinity."""
    match = _NUMBER.match(text, start)
    if match is None:
        return None
    integer, fraction, exponent = match.groups()
    end = match.end(match.lastindex or 1)
    try:
        value = float(text[start:end]) if fraction or exponent else int(integer)
    except ValueError:  # Python refuses more than 4300 digits
        return math.inf, end, match.end()
    return as_hjson_number(value), end, match.end()


def as_hjson_number(value: float) -> float:
    """Returns whole numbers below 1e10 as integers, as `hjson` does."""
    whole = isinstance(value, float) and math.isfinite(value) and abs(value) < 1e10 and int(value) == value
    return int(value) if whole else value


def word(text: str, start: int, *, tolerant: bool) -> Word:
    """Returns what is neither a number nor quoted; tolerant, reading goes on where the word seems to end."""
    constant = _CONSTANT.match(text, start)
    if constant:
        value = _CONSTANTS[constant[1]]
        return Word(None, value, value, constant.end(1), constant.end())
    line_end = text.find("\n", start, start + _SHOWN if tolerant else len(text))
    line_end = line_end if line_end >= 0 else min(len(text), start + _SHOWN) if tolerant else len(text)
    line = text[start:line_end].strip()
    placeholder = _PLACEHOLDER.match(text, start)
    match = placeholder or _WORD.match(text, start)
    written = match[0].rstrip() if match else ""
    kind, meaning = ("placeholder", written) if placeholder else _classified(written)
    end = start + len(written)
    swallows = _NOTHING_MORE.match(text, end) is None
    return Word(kind, line, meaning, end, max(end, start + 1) if tolerant else line_end, swallows)


def _classified(written: str) -> tuple[Literal["bare-text", "python-literal", "odd-number", "not-a-number"], Any]:
    if written in _LITERALS:
        return "python-literal", _LITERALS[written]
    if written in _NOT_NUMBERS:
        return "not-a-number", _NOT_NUMBERS[written]
    if len(written) <= _SHOWN and _ODD_NUMBER.match(written):
        return "odd-number", _meant(written)
    return "bare-text", written


def _meant(written: str) -> float | str:
    """Returns the number that is certainly meant, else the text."""
    plain = written.replace("_", "").removeprefix("+")
    if not _CERTAIN_NUMBER.match(plain):
        return written
    value = int(plain) if plain.lstrip("-").isdigit() else as_hjson_number(float(plain))
    return value if math.isfinite(value) else written


def quoted(text: str, start: int, refuse: Refuse) -> tuple[str, int, int | None]:
    """Returns the text in quotes, where reading goes on, and where an escape stands that JSON does not have."""
    quote, parts, at, odd = text[start], list[str](), start + 1, None
    while True:
        match = _PLAIN[quote].match(text, at)
        parts.append(match[0] if match else "")
        at = match.end() if match else at
        here = text[at : at + 1]
        if here == quote:
            return "".join(parts), at + 1, odd
        if here in ("", "\n"):
            refuse(
                f"the text that starts with {quote} is not closed on its line", start, at, f"add the missing {quote}"
            )
            return "".join(parts), at, odd
        if here == "\\":
            odd = at if odd is None and text[at + 1 : at + 2] == "'" else odd
            part, at = _escaped(text, at, refuse)
        else:
            refuse(f"the character {here!r} cannot stand in quotes", at, at + 1, f"write it as `\\u{ord(here):04x}`")
            part, at = here, at + 1
        parts.append(part)


def _escaped(text: str, at: int, refuse: Refuse) -> tuple[str, int]:
    escape = text[at + 1 : at + 2]
    if escape != "u":
        if escape not in _ESCAPES:
            refuse(f"`\\{escape}` is not an escape", at, at + 2, "write `\\\\` for a backslash")
            return "\\", at + 1
        return _ESCAPES[escape], at + 2
    code = _code(text, at)
    if code is None:
        refuse("`\\u` needs four hexadecimal digits", at, at + 2, "write `\\\\` for a backslash")
        return "\\", at + 1
    low = _code(text, at + 6) if code & 0xFC00 == 0xD800 and text.startswith("\\u", at + 6) else None
    if low is not None and low & 0xFC00 == 0xDC00:
        return chr(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)), at + 12
    return chr(code), at + 6


def _code(text: str, at: int) -> int | None:
    digits = text[at + 2 : at + 6]
    try:
        return int(digits, 16) if len(digits) == 4 and digits[1] not in "xX" and "-" not in digits else None
    except ValueError:
        return None


def triple_quoted(text: str, start: int, indent: int, refuse: Refuse) -> tuple[str, int]:
    """Returns the text between `'''`, each line without `indent` characters of indentation, and where it ends."""
    end = text.find("'''", start + 3)
    if end < 0:
        refuse("the text that starts with ''' is never closed", start, start + 3, "add `'''`")
        end = len(text)
    first, *lines = text[start + 3 : end].split("\n")
    first = first.lstrip(" \t\r")
    lines = [_without_indent(line, indent) for line in lines]
    if first or not lines:
        lines = [first, *lines]
    value = "\n".join(lines).replace("\r", "")
    return value.removesuffix("\n"), min(len(text), end + 3)


def _without_indent(line: str, indent: int) -> str:
    rest = line.lstrip(" \t\r")
    return line[min(indent, len(line) - len(rest)) :]
