"""Findings as text for people, for tools, and for GitHub."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from zerotrain.diagnostic import Diagnostic, Severity

_COLORS = {Severity.ERROR: "\033[31m", Severity.WARNING: "\033[33m", Severity.INFO: "\033[36m"}
_WIDEST_LINE = 160
_BOLD, _RESET = "\033[1m", "\033[0m"


def render_full(findings: Sequence[Diagnostic], color: bool = False) -> str:
    """Returns each finding with its line, a caret under the place, and the way out."""
    return "\n".join(_full(finding, color) for finding in findings)


def render_concise(findings: Sequence[Diagnostic], color: bool = False) -> str:
    """Returns one line for each finding."""
    return "".join(f"{_where(f)}{_head(f, color)}: {' '.join(_shown(f.message).split())}\n" for f in findings)


def render_json(findings: Sequence[Diagnostic], color: bool = False) -> str:
    """Returns the contract's JSON."""
    return json.dumps({"version": 1, "findings": [finding.as_json() for finding in findings]}, indent=2) + "\n"


def render_github(findings: Sequence[Diagnostic], color: bool = False) -> str:
    """Returns GitHub Actions' workflow commands, which annotate the changed lines."""
    return "".join(_annotation(finding) for finding in findings)


def _sarif(findings: Sequence[Diagnostic], color: bool) -> str:
    from zerotrain.check.sarif import render_sarif

    return render_sarif(findings, color)


FORMATS: Mapping[str, Callable[[Sequence[Diagnostic], bool], str]] = {
    "full": render_full,
    "concise": render_concise,
    "json": render_json,
    "github": render_github,
    "sarif": _sarif,
}


def summary(findings: Sequence[Diagnostic]) -> str:
    """Returns a sentence such as `2 errors, 1 warning`."""
    counts = [(sum(f.severity is severity for f in findings), severity) for severity in Severity]
    said = [
        f"{count} {severity}{'s' if count > 1 and severity != 'info' else ''}" for count, severity in counts if count
    ]
    return ", ".join(said) or "no findings"


def _full(finding: Diagnostic, color: bool) -> str:
    lines = [f"{_where(finding)}{_head(finding, color)}", *_excerpt(finding), f"  = {_shown(finding.message)}"]
    if finding.help:
        lines.append(f"  help: {_shown(finding.help)}")
    return "\n".join(lines) + "\n"


def _excerpt(finding: Diagnostic) -> list[str]:
    place = finding.place
    if place.source_line is None or place.line is None or place.column is None:
        return []
    text, column = _window(place.source_line, place.column - 1)
    gutter = " " * len(str(place.line))
    caret = " " * column + "^" * max(1, min(place.width, len(text) - column))
    return [f"  {gutter} |", f"  {place.line} | {text}", f"  {gutter} | {caret}"]


def _window(line: str, column: int) -> tuple[str, int]:
    """Returns the part of a line around a column, one character wide each, and the column in it; both from 0."""
    plain = "".join(character if character.isprintable() else " " for character in line)
    if len(plain) <= _WIDEST_LINE:
        return plain, column
    start = max(0, column - _WIDEST_LINE // 3)
    cut = plain[start : start + _WIDEST_LINE]
    before, after = "…" if start else "", "…" if start + _WIDEST_LINE < len(plain) else ""
    return f"{before}{cut}{after}", column - start + len(before)


def _shown(text: str) -> str:
    """Returns text that does nothing to a terminal but stand there."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _where(finding: Diagnostic) -> str:
    place = finding.place
    if place.file is None:
        return ""
    position = f":{place.line}:{place.column}" if place.line is not None else ""
    return _shown(f"{place.file}{position}: ")


def _head(finding: Diagnostic, color: bool) -> str:
    head = f"{finding.severity}[{finding.code}]"
    painted = f"{_BOLD}{_COLORS[finding.severity]}{head}{_RESET}" if color else head
    return f"{painted} {finding.name}"


def _annotation(finding: Diagnostic) -> str:
    kind = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}[finding.severity]
    place = finding.place
    fields = {"file": place.file, "line": place.line, "col": place.column, "title": f"{finding.code} {finding.name}"}
    listed = ",".join(f"{name}={_escaped(str(value), True)}" for name, value in fields.items() if value is not None)
    text = f"{finding.message}\nhelp: {finding.help}" if finding.help else finding.message
    return f"::{kind} {listed}::{_escaped(text, False)}\n"


def _escaped(text: str, is_property: bool) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if is_property else text
