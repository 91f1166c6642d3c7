"""Runs every rule over a spec."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from zerotrain.check.case import Case
from zerotrain.check.compiled import about_compiled
from zerotrain.check.registry import CODES, RULES
from zerotrain.check.suppress import suppress
from zerotrain.diagnostic import Diagnostic, Place, Severity
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.spec.load import Reading, UnreadSection, read_spec
from zerotrain.spec.tree import Tree

_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}


def check_file(
    path: str | Path, surroundings: Surroundings, overrides: Sequence[str] = (), world_size: int | None = None
) -> list[Diagnostic]:
    """Returns every finding about a spec, each at its place, in the order of the file."""
    return check_reading(read_spec(path, overrides), surroundings, world_size)


def check_reading(reading: Reading, surroundings: Surroundings, world_size: int | None = None) -> list[Diagnostic]:
    """Returns every finding about a spec that was read, however badly."""
    found, firm = list(reading.findings), list(reading.findings)
    if reading.spec is not None:
        case = Case(reading.spec, surroundings, world_size)
        found += [placed(finding, reading.tree) for finding in _look(case, reading.is_valid)]
        firm += [placed(finding, reading.tree) for finding in _as_far_as_read(case.refusals())]
    return sorted(suppress(found, reading.tree.lines, CODES, firm), key=position)


def selected(findings: Iterable[Diagnostic], select: Sequence[str], ignore: Sequence[str]) -> list[Diagnostic]:
    """Returns the findings whose code starts with a selected prefix and with no ignored one."""
    return [
        finding
        for finding in findings
        if finding.code.startswith(tuple(select) or "ZT") and not (ignore and finding.code.startswith(tuple(ignore)))
    ]


def _look(case: Case, is_valid: bool) -> list[Diagnostic]:
    found = [finding for rule in RULES for finding in _as_far_as_read(rule(case))]
    found += _as_far_as_read(case.refusals())
    said = {finding.place.key for finding in found}
    compiled = about_compiled(case, is_sound=is_valid and not any(finding.is_error for finding in found))
    return found + [finding for finding in _as_far_as_read(compiled) if finding.place.key not in said]


def _as_far_as_read(findings: Iterator[Diagnostic]) -> Iterator[Diagnostic]:
    try:
        yield from findings
    except UnreadSection:
        # The reason is reported where the section is read.
        return


def placed(finding: Diagnostic, tree: Tree) -> Diagnostic:
    """Returns a finding about a key at the place of that key."""
    key = finding.place.key
    if key is None:
        return finding
    return finding.at(replace(tree.place_of(key, on_key=finding.place.is_about_key), key=key))


def position(finding: Diagnostic) -> tuple[str, int, int, int, str]:
    """Returns the key by which findings are sorted: by place, then the worst first."""
    place: Place = finding.place
    return place.file or "", place.line or 0, place.column or 0, _ORDER[finding.severity], finding.code
