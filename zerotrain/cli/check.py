"""`zerotrain check`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TextIO

from zerotrain.check.registry import RULES
from zerotrain.check.render import FORMATS, summary
from zerotrain.check.runner import check_reading, selected
from zerotrain.cli.arguments import add_world_size, specs_and_overrides
from zerotrain.diagnostic import Diagnostic
from zerotrain.hardware.probe import surroundings
from zerotrain.spec.load import read_spec
from zerotrain.spec.tree import Tree, parse

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
    parser.add_argument("--fix", action="store_true", help="change in the files what has one certain remedy")
    for name, what in (("--select", "only codes that begin so"), ("--ignore", "no codes that begin so")):
        parser.add_argument(name, action="extend", type=_codes, default=[], metavar="ZT3", help=what)


def run(given: argparse.Namespace) -> int:
    """Prints every finding; returns 1 when one is an error, 2 when a file cannot be read."""
    files, overrides = specs_and_overrides([*given.specs, *given.overrides])
    if not files:
        print("zerotrain check: no SPEC is given, only overrides", file=sys.stderr)
        return 2
    around = surroundings()

    def look(file: str) -> tuple[list[Diagnostic], Tree]:
        reading = read_spec(file, overrides)
        return check_reading(reading, around, given.world_size), reading.tree

    found = [finding for file in files for finding in looked_at(file, look, given)]
    return report(found, files, given, sys.stdout)


def looked_at(
    file: str,
    look: Callable[[str], tuple[Sequence[Diagnostic], Tree]],
    given: argparse.Namespace,
    read: Callable[[str, str], Tree] = parse,
) -> Sequence[Diagnostic]:
    """Returns the findings about a file; with `--fix`, those that remain when it has been fixed.

    `read` reads a text as `look` reads the file.
    """
    if not given.fix:
        return look(file)[0]
    from zerotrain.check.fix import fix_all

    repair = fix_all(lambda: look(file), lambda found: selected(found, given.select, given.ignore), read)
    for change in repair.changes:
        print(f"fixed {change}", file=sys.stderr)
    return repair.findings


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
    return int(any(finding.is_error for finding in known))


def _codes(text: str) -> list[str]:
    """Reads `ZT3` or `zt101,ZT2`, beginnings of codes that exist."""
    wanted = [word.strip().upper() for word in text.split(",") if word.strip()]
    for word in wanted:
        if not any(rule.code.startswith(word) for rule in RULES):
            raise argparse.ArgumentTypeError(f"no code begins with `{word}`; they look like `ZT101`")
    return wanted
