"""What is said about the text of a DeepSpeed config, by who reads it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from zerotrain.diagnostic import Diagnostic, Fix, Place, Severity
from zerotrain.spec.hjson.cursor import Departure, Kind
from zerotrain.spec.tree import dotted

_FRAMEWORKS = "HF Trainer and Accelerate read with `json.load`"
_ONLY_HJSON: dict[Kind, tuple[str, str]] = {
    "byte-order-mark": ("a byte order mark", "save the file as UTF-8 without one"),
    "comment": ("comments", "remove them"),
    "no-braces": ("a config without its outermost braces", "put everything in `{` and `}`"),
    "unquoted-key": ("keys without quotes", "put keys in double quotes"),
    "odd-key": ("keys without quotes", "put keys in double quotes"),
    "single-quotes": ("single quotes", "write double quotes"),
    "multi-line-text": ("text in `'''`", "write it in double quotes, with `\\n`"),
    "escape": ("the escape `\\'`", "write `'` alone"),
    "bare-text": ("text without quotes", "put text in double quotes"),
    "trailing-comma": ("a comma before a closing bracket", "remove it"),
    "missing-comma": ("values without a comma between them", "add the comma"),
}
_FOREIGN = (
    (re.compile(r"(?:#!.*python|import \w|from \S+ import |def \w|class \w|\w+\s*=\s*(?:\{|dict\())"), "Python source"),
    (re.compile(r"version https://git-lfs"), "a pointer of Git LFS, whose content was not pulled"),
    (re.compile(r"<[!?\w]"), "HTML or XML"),
)
_LONGEST = 60


def foreign(text: str) -> str | None:
    """Returns what else than a config the text is, if it looks like that."""
    start = text[:500].lstrip()
    return next((what for pattern, what in _FOREIGN if pattern.match(start)), None)


def not_a_config(fact: str, file: str) -> Diagnostic:
    """Returns the finding that a file holds something else, or nothing."""
    help = 'write `{"train_batch_size": …, …}`'
    return Diagnostic("ZT035", "not-a-config", Severity.ERROR, fact, Place(file, 1, 1), help)


def about_root(data: Any, file: str) -> Iterator[Diagnostic]:
    """Yields a finding when the whole is not a mapping."""
    if not isinstance(data, dict):
        kind = {list: "a list", str: "text", bool: "a constant", type(None): "`null`"}.get(type(data), "a number")
        yield not_a_config(f"the config is {kind}, not keys and values in braces", file)


def about(departures: Iterable[Departure], *, is_refused: bool) -> Iterator[Diagnostic]:
    """Yields what DeepSpeed refuses or takes for something else.

    In a file that is refused as a whole, text that swallows the rest of its line is an error.
    """
    for departure in departures:
        severity = Severity.ERROR if is_refused and departure.swallows else Severity.WARNING
        if departure.kind == "duplicate":
            yield _duplicate(departure, Severity.ERROR, "DeepSpeed refuses a key that stands twice")
        elif departure.kind == "python-literal":
            yield _python_literal(departure, severity, _becomes(departure))
        elif departure.kind == "odd-number":
            yield _odd_number(departure, severity, _becomes(departure))
        elif departure.kind == "not-a-number":
            yield _not_a_number(departure, severity)
        elif departure.kind == "odd-key":
            yield _odd_key(departure)
        elif departure.kind == "bare-text" and _is_surprising(departure):
            yield _bare_text(departure, severity)
        elif departure.kind == "placeholder" and is_refused:
            yield _placeholder(departure)


def about_json(departures: Iterable[Departure], *, is_refused: bool) -> Iterator[Diagnostic]:
    """Yields what `json.load` refuses or takes for something else; of each construct the first."""
    said = set[str]()
    for departure in departures:
        what = _ONLY_HJSON[departure.kind][0] if departure.kind in _ONLY_HJSON else ""
        if departure.kind == "duplicate":
            yield _duplicate(departure, Severity.WARNING, f"{_FRAMEWORKS}, which keeps only the last")
        elif departure.kind == "not-a-number":
            yield _not_a_number_in_json(departure)
        elif not is_refused:
            continue
        elif departure.kind == "python-literal":
            yield _python_literal(departure, Severity.ERROR, f"{_FRAMEWORKS}, which refuses it")
        elif departure.kind == "odd-number":
            yield _odd_number(departure, Severity.ERROR, f"{_FRAMEWORKS}, which refuses it")
        elif what not in said:
            said.add(what)
            yield _only_hjson(departure) if what else _placeholder(departure)


def _duplicate(departure: Departure, severity: Severity, consequence: str) -> Diagnostic:
    message = f"`{dotted(departure.path)}` stands here again, first on line {departure.value}: {consequence}"
    return Diagnostic("ZT004", "duplicate-key", severity, message, departure.place, "keep one of the two")


def _only_hjson(departure: Departure) -> Diagnostic:
    what, help = _ONLY_HJSON[departure.kind]
    message = f"{_FRAMEWORKS}, which refuses {what}"
    return Diagnostic("ZT031", "only-hjson", Severity.ERROR, message, departure.place, help)


def _python_literal(departure: Departure, severity: Severity, consequence: str) -> Diagnostic:
    meant = json.dumps(departure.meaning)
    message = f"`{departure.written}` is not JSON's `{meant}`: {consequence}"
    fix = Fix(f"write `{meant}`", dotted(departure.path), departure.meaning)
    return Diagnostic("ZT032", "python-literal", severity, message, departure.place, f"write `{meant}`", fix)


def _odd_number(departure: Departure, severity: Severity, consequence: str) -> Diagnostic:
    help, fix = "write it as JSON writes numbers: `1000`, `0.5`, `1e-4`", None
    if not isinstance(departure.meaning, str):
        help = f"write `{departure.meaning}`"
        fix = Fix(help, dotted(departure.path), departure.meaning)
    message = f"`{departure.written}` is not a number in JSON: {consequence}"
    return Diagnostic("ZT033", "malformed-number", severity, message, departure.place, help, fix)


def _not_a_number(departure: Departure, severity: Severity) -> Diagnostic:
    if isinstance(departure.value, float):
        message = f"`{_short(departure.written)}` is greater than any number: DeepSpeed cannot read the file"
        return Diagnostic("ZT034", "not-a-number", Severity.ERROR, message, departure.place, "write a smaller number")
    message = f"`{departure.written}` is no number in HJSON: {_becomes(departure)}"
    return Diagnostic("ZT034", "not-a-number", severity, message, departure.place, "write a number")


def _not_a_number_in_json(departure: Departure) -> Diagnostic:
    what = "not a number" if math.isnan(departure.meaning) else "infinite"
    message = f"`{_short(departure.written)}` is {what}: {_FRAMEWORKS}, which accepts it; DeepSpeed itself does not"
    return Diagnostic("ZT034", "not-a-number", Severity.WARNING, message, departure.place, "write a number")


def _bare_text(departure: Departure, severity: Severity) -> Diagnostic:
    help = f"put it in double quotes: {json.dumps(departure.written)}"
    message = f"text without quotes goes to the end of the line: {_becomes(departure)}"
    return Diagnostic("ZT036", "text-to-line-end", severity, message, departure.place, help)


def _placeholder(departure: Departure) -> Diagnostic:
    message = f"`{departure.written}` is a placeholder that nothing has filled in"
    help = "fill it in first, then look at the result"
    return Diagnostic("ZT030", "invalid-json", Severity.ERROR, message, departure.place, help)


def _odd_key(departure: Departure) -> Diagnostic:
    name = departure.path[-1]
    message = f"quotes, spaces and signs are part of this key's name, which is read as {name!a}"
    help = "put the name in straight double quotes"
    return Diagnostic("ZT037", "odd-key", Severity.WARNING, message, departure.place, help)


def _is_surprising(departure: Departure) -> bool:
    return departure.value != departure.written or departure.written[:1] in "“”‘’"


def _becomes(departure: Departure) -> str:
    if departure.swallows:
        return f"DeepSpeed takes the rest of the line into the text `{_short(departure.value)}`"
    return f"DeepSpeed reads the text `{_short(departure.value)}`"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
