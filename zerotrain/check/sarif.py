"""Findings as SARIF 2.1.0, which code-scanning services read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from zerotrain.check.registry import find_rule
from zerotrain.diagnostic import Diagnostic, Place, Severity
from zerotrain.spec.load import COMMAND_LINE
from zerotrain.version import __version__

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_ROOT = "%SRCROOT%"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def render_sarif(findings: Sequence[Diagnostic], color: bool = False) -> str:
    """Returns a log of one run, with a description of every rule that found something."""
    rules = {finding.code: finding for finding in sorted(findings, key=lambda finding: finding.code)}
    indices = {code: index for index, code in enumerate(rules)}
    driver = {"name": "zerotrain", "version": __version__, "rules": [_rule(finding) for finding in rules.values()]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, indices[finding.code]) for finding in findings],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(example: Diagnostic) -> dict[str, Any]:
    described = {"id": example.code, "name": example.name, "defaultConfiguration": {"level": _LEVELS[example.severity]}}
    known = find_rule(example.code)
    if known is None:
        return described
    page = known.page
    plain = f"{page.why}\n\nWrong: {page.wrong}\nRight: {page.right}"
    marked = f"{page.why}\n\nWrong: {page.wrong}\n\nRight: {page.right}"
    return {**described, "shortDescription": {"text": page.summary}, "help": {"text": plain, "markdown": marked}}


def _result(finding: Diagnostic, rule_index: int) -> dict[str, Any]:
    text = f"{finding.message}\nhelp: {finding.help}" if finding.help else finding.message
    return {
        "ruleId": finding.code,
        "ruleIndex": rule_index,
        "level": _LEVELS[finding.severity],
        "message": {"text": text},
        "locations": [location] if (location := _location(finding.place)) else [],
    }


def _location(place: Place) -> dict[str, Any]:
    location: dict[str, Any] = {}
    if place.file is not None and place.file != COMMAND_LINE:
        location["physicalLocation"] = {"artifactLocation": _artifact(place.file), **_regions(place)}
    if place.key is not None:
        location["logicalLocations"] = [{"fullyQualifiedName": place.key}]
    return location


def _artifact(file: str) -> dict[str, str]:
    """Returns the URI of a file: relative to the root of the sources, unless its path is absolute."""
    path = Path(file)
    if path.is_absolute():
        return {"uri": path.as_uri()}
    return {"uri": quote(path.as_posix(), errors="surrogatepass"), "uriBaseId": _ROOT}


def _regions(place: Place) -> dict[str, Any]:
    if place.line is None or place.column is None:
        return {}
    start, end = place.column, place.column + place.width
    region: dict[str, Any] = {"startLine": place.line, "startColumn": start, "endColumn": end}
    if place.source_line is None:
        return {"region": region}
    region["snippet"] = {"text": place.source_line[start - 1 : end - 1]}
    return {"region": region, "contextRegion": {"startLine": place.line, "snippet": {"text": place.source_line}}}
