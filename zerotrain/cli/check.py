"""`zerotrain check`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TextIO

from zerotrain.check.registry import RULES
from zerotrain.check.render import FORMATS, summary
from zerotrain.check.runner import check_reading, placed, selected
from zerotrain.cli.arguments import add_world_size, specs_and_overrides
from zerotrain.compile.model import settle
from zerotrain.diagnostic import Diagnostic
from zerotrain.errors import ZerotrainError
from zerotrain.hardware.probe import surroundings
from zerotrain.spec.load import read_spec
from zerotrain.spec.tree import Tree, parse

_UNREADABLE = ("ZT001", "ZT002")
_SAMPLES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("specs", metavar="SPEC", nargs="+", help="specs, and overrides `section.field=value`")
    parser.set_defaults(overrides=[])
    add_output(parser)
    parser.add_argument("--data", action="store_true", help="prepare the data too, and show what is trained first")
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

    found, texts = list[Diagnostic](), list[str]()
    for file in files:
        about = looked_at(file, look, given)
        found += about
        if given.data and not exit_code(about):
            wrong, text = _data_of(file, overrides, given)
            found += wrong
            texts.append(text)
    code = report(found, files, given, sys.stdout)
    if given.format == "full":
        sys.stdout.write("".join(texts))
    return code


def _data_of(file: str, overrides: Sequence[str], given: argparse.Namespace) -> tuple[list[Diagnostic], str]:
    """Prepares the data of a spec without errors; returns what is wrong with it, and the first samples as text."""
    from zerotrain.data.show import BRACKETS, COLORS, counts, first_samples
    from zerotrain.engine.open import prepare_data

    reading = read_spec(file, overrides)
    assert reading.spec is not None, "a spec without errors was read"
    try:
        settled = settle(reading.spec, surroundings(), world_size=given.world_size)
        prepared = prepare_data(settled, lambda line: print(line, file=sys.stderr, flush=True))
        marks = COLORS if sys.stdout.isatty() else BRACKETS
        samples = list(first_samples(prepared, settled.spec.seed, _SAMPLES, marks))
    except ZerotrainError as refused:
        return [placed(finding, reading.tree) for finding in refused.findings], ""
    shown = "".join(f"\nsample {number} of training:\n{text}\n" for number, text in enumerate(samples, start=1))
    return [], f"{file}: {counts(prepared)}\n{shown}"


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
