"""`zerotrain check`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from zerotrain.check.registry import RULES
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
    add_output(parser)
    add_world_size(parser)


def add_output(parser: argparse.ArgumentParser) -> None:
    """Adds what is shown and how."""
    parser.add_argument("--format", choices=tuple(FORMATS), default="full", help="how findings are printed")
    for name, what in (("--select", "only codes that begin so"), ("--ignore", "no codes that begin so")):
        parser.add_argument(name, action="extend", type=_codes, default=[], metavar="ZT3", help=what)


def run(given: argparse.Namespace) -> int:
    """Prints every finding; returns 1 when one is an error, 2 when a file cannot be read."""
    files, overrides = specs_and_overrides([*given.specs, *given.overrides])
    if not files:
        print("zerotrain check: no SPEC is given, only overrides", file=sys.stderr)
        return 2
    around = surroundings()
    found = [finding for file in files for finding in check_file(file, around, overrides, given.world_size)]
    return report(found, files, given, sys.stdout)


def report(found: Sequence[Diagnostic], files: Sequence[str], given: argparse.Namespace, out: TextIO) -> int:
    """Writes the findings that are asked for; returns the exit code."""
    shown = selected(found, given.select, given.ignore)
    out.write(FORMATS[given.format](shown, out.isatty()))
    if given.format == "full":
        out.write(f"{'' if not shown else chr(10)}{', '.join(files)}: {summary(shown)}\n")
    return exit_code([*shown, *unreadable(found)])


def unreadable(findings: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Returns the findings that a file could not be read."""
    return [finding for finding in findings if finding.code in _UNREADABLE]


def exit_code(findings: Iterable[Diagnostic]) -> int:
    """Returns 2 for an unreadable file, 1 for errors, else 0."""
    known = list(findings)
    if unreadable(known):
        return 2
    return int(any(finding.severity is Severity.ERROR for finding in known))


def _codes(text: str) -> list[str]:
    """Reads `ZT3` or `zt101,ZT2`, beginnings of codes that exist."""
    wanted = [word.strip().upper() for word in text.split(",") if word.strip()]
    for word in wanted:
        if not any(rule.code.startswith(word) for rule in RULES):
            raise argparse.ArgumentTypeError(f"no code begins with `{word}`; they look like `ZT101`")
    return wanted
