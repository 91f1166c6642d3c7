"""`zerotrain compile`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from zerotrain.check.case import Case
from zerotrain.check.render import render_full
from zerotrain.check.runner import check_reading, placed
from zerotrain.cli.arguments import add_spec
from zerotrain.cli.check import exit_code
from zerotrain.compile.dsconfig import Target
from zerotrain.compile.emit import compile_spec
from zerotrain.compile.resolve import Resolved
from zerotrain.compile.sections.experts import unsaid_experts
from zerotrain.compile.sections.groups import unsaid
from zerotrain.compile.sections.schedule import left_out
from zerotrain.diagnostic import Diagnostic
from zerotrain.hardware.probe import surroundings
from zerotrain.spec.load import read_spec

_WITH_A_SCHEDULER = ("deepspeed", "hf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    add_spec(parser)
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="write to a file instead")
    parser.add_argument(
        "--for",
        dest="target",
        choices=("deepspeed", "zerotrain", "hf", "accelerate"),
        default="deepspeed",
        help="who reads it: a script around deepspeed.initialize, a run of zerotrain's, HF Trainer, or Accelerate",
    )


def run(given: argparse.Namespace) -> int:
    """Prints the JSON, and nothing else, on standard output; findings go to standard error."""
    around, reading = surroundings(), read_spec(given.spec, given.overrides)
    found = check_reading(reading, around, given.world_size)
    sys.stderr.write(render_full(found, color=sys.stderr.isatty()))
    if code := exit_code(found):
        return code
    assert reading.spec is not None, "a spec without errors was read"
    resolved = Case(reading.spec, around, given.world_size).resolved
    text = compile_spec(resolved, given.target).as_json()
    missing = [placed(finding, reading.tree) for finding in _missing(resolved, given.target)]
    sys.stderr.write(render_full(missing, color=sys.stderr.isatty()) if missing else "")
    if given.output is None:
        sys.stdout.write(text)
        return 0
    try:
        given.output.write_text(text, encoding="utf-8")
    except OSError as broken:
        print(f"zerotrain compile: cannot write `{given.output}`: {broken.strerror}", file=sys.stderr)
        return 2
    return 0


def _missing(resolved: Resolved, target: Target) -> list[Diagnostic]:
    """Returns what the spec says and the JSON for someone else does not."""
    findings = [left_out(resolved)] if target in _WITH_A_SCHEDULER else []
    if target != "zerotrain":
        findings += [unsaid(resolved.spec.optimizer), unsaid_experts(resolved.spec.moe)]
    return [finding for finding in findings if finding is not None]
