"""What a user reads of an examination."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from zerotrain.check.render import render_concise, render_full, summary
from zerotrain.diagnostic import Diagnostic
from zerotrain.doctor.checks.table import Outcome
from zerotrain.doctor.machine import Machine

_MARKS = (("ok", "\033[32m"), ("look", "\033[33m"), ("BAD", "\033[31m"))
_RESET = "\033[0m"
_NAME = 15


@dataclass(frozen=True)
class Report:
    """Everything that is told."""

    subject: str
    """What was examined for: the spec's file, or `this machine`."""
    outcomes: Sequence[Outcome]
    findings: Sequence[Diagnostic]
    """Those of all outcomes, at their places in the spec."""
    machine: Machine | None
    """None when a spec with errors was not asked for."""


def render_report(report: Report, color: bool) -> str:
    """Returns one line for each check, each finding with its way out, and a count."""
    lines = "".join(_line(outcome, color) for outcome in report.outcomes)
    findings = render_full(report.findings, color)
    last = f"{report.subject}: {_verdict(report.findings)}\n"
    return "\n".join(part for part in (lines, findings, last) if part)


def render_lines(report: Report, color: bool) -> str:
    """Returns one line for each finding."""
    return render_concise(report.findings, color)


def render_facts(report: Report, color: bool) -> str:
    """Returns findings and facts as JSON."""
    findings = [finding.as_json() for finding in report.findings]
    return (
        json.dumps({"version": 1, "findings": findings, "facts": report.machine and asdict(report.machine)}, indent=2)
        + "\n"
    )


FORMATS: Mapping[str, Callable[[Report, bool], str]] = {
    "full": render_report,
    "concise": render_lines,
    "json": render_facts,
}


def _line(outcome: Outcome, color: bool) -> str:
    found = outcome.findings
    word, paint = _MARKS[2 if any(finding.is_error for finding in found) else min(1, len(found))]
    mark = f"{paint}{word:<4}{_RESET}" if color else f"{word:<4}"
    return f"{mark}  {outcome.name:<{_NAME}} {outcome.fact}".rstrip() + "\n"


def _verdict(findings: Sequence[Diagnostic]) -> str:
    if not findings:
        return "ready"
    is_stopped = any(finding.is_error for finding in findings)
    return f"{'not ready' if is_stopped else 'ready'}, {summary(findings)}"
