"""`zerotrain doctor`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from zerotrain.check.case import Case
from zerotrain.check.runner import check_reading, placed
from zerotrain.cli.arguments import add_world_size, specs_and_overrides
from zerotrain.cli.check import exit_code
from zerotrain.diagnostic import Diagnostic
from zerotrain.doctor.checks.table import Outcome, examine
from zerotrain.doctor.need import any_need, need_of
from zerotrain.doctor.probes.table import look
from zerotrain.doctor.report import FORMATS, Report
from zerotrain.hardware.probe import surroundings
from zerotrain.spec.load import Reading, read_spec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("words", metavar="SPEC", nargs="*", help="a spec, and overrides `section.field=value`")
    parser.set_defaults(overrides=[])
    parser.add_argument("--format", choices=tuple(FORMATS), default="full", help="how the report is printed")
    add_world_size(parser)


def run(given: argparse.Namespace) -> int:
    """Prints what was found; returns 1 when something stops the run, 2 when the spec cannot be read."""
    files, overrides = specs_and_overrides([*given.words, *given.overrides])
    if len(files) > 1 or (overrides and not files):
        what = "one SPEC at a time" if files else "no SPEC is given, only overrides"
        print(f"zerotrain doctor: {what}", file=sys.stderr)
        return 2
    reading = read_spec(files[0], overrides) if files else None
    found = check_reading(reading, surroundings(), given.world_size) if reading else []
    subject = files[0] if files else "this machine"
    if code := exit_code(found):
        report = Report(subject, (), [finding for finding in found if finding.is_error], None)
    else:
        report = _examined(subject, reading, given.world_size)
        code = exit_code(report.findings)
    sys.stdout.write(FORMATS[given.format](report, sys.stdout.isatty()))
    return code


def _examined(subject: str, reading: Reading | None, world_size: int | None) -> Report:
    """Returns the report on this machine, for a spec without errors or for any run."""
    around = surroundings()
    spec = reading.spec if reading else None
    need = need_of(Case(spec, around, world_size), Path(subject)) if spec else any_need(around)
    machine = look(need)
    outcomes = list(examine(machine, need))
    return Report(subject, outcomes, _placed(outcomes, reading), machine)


def _placed(outcomes: Sequence[Outcome], reading: Reading | None) -> list[Diagnostic]:
    findings = [finding for outcome in outcomes for finding in outcome.findings]
    return [placed(finding, reading.tree) for finding in findings] if reading else findings
