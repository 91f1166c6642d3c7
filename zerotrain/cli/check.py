"""`zerotrain check`."""

from __future__ import annotations

import argparse
import sys

from zerotrain.check.render import FORMATS, summary
from zerotrain.check.runner import check_file, selected
from zerotrain.cli.arguments import add_world_size, specs_and_overrides
from zerotrain.diagnostic import Diagnostic, Severity
from zerotrain.hardware.probe import surroundings

_UNREADABLE = ("ZT001", "ZT002")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("specs", metavar="SPEC", nargs="+", help="specs, and overrides `section.field=value`")
    parser.set_defaults(overrides=[])
    parser.add_argument("--format", choices=tuple(FORMATS), default="full", help="how findings are printed")
    parser.add_argument("--select", action="append", default=[], metavar="ZT3", help="only codes that begin so")
    parser.add_argument("--ignore", action="append", default=[], metavar="ZT3", help="no codes that begin so")
    add_world_size(parser)


def run(given: argparse.Namespace) -> int:
    """Prints every finding; returns 1 when one is an error, 2 when a file cannot be read."""
    files, overrides = specs_and_overrides([*given.specs, *given.overrides])
    if not files:
        print("zerotrain check: no SPEC is given, only overrides", file=sys.stderr)
        return 2
    around = surroundings()
    found = [finding for file in files for finding in check_file(file, around, overrides, given.world_size)]
    shown = selected(found, given.select, given.ignore)
    sys.stdout.write(FORMATS[given.format](shown, sys.stdout.isatty()))
    if given.format == "full":
        print(f"{'' if not shown else chr(10)}{', '.join(files)}: {summary(shown)}")
    return exit_code(shown)


def exit_code(findings: list[Diagnostic]) -> int:
    """Returns 2 for an unreadable file, 1 for errors, else 0."""
    if any(finding.code in _UNREADABLE for finding in findings):
        return 2
    return int(any(finding.severity is Severity.ERROR for finding in findings))
