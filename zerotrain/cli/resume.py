"""`zerotrain resume`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from zerotrain.check.render import render_full
from zerotrain.check.runner import check_reading
from zerotrain.cli.arguments import add_world_size
from zerotrain.cli.check import exit_code
from zerotrain.cli.follow import add_launcher, follow, launcher_override
from zerotrain.compile.emit import compile_spec
from zerotrain.compile.model import settle
from zerotrain.compile.resolve import ranks_of
from zerotrain.diagnostic import Severity
from zerotrain.hardware.probe import surroundings
from zerotrain.hardware.software import versions
from zerotrain.runs.attempts import hold, is_finished
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import RunRecord, read_record
from zerotrain.runs.revise import changed_versions, changes, fitting_micro_batch, refuse_changes, revise_run
from zerotrain.spec.launch import LaunchSpec
from zerotrain.spec.load import load_spec, read_spec

_SOLVED = ("batch.micro_batch_size", "batch.gradient_accumulation_steps")
"""What is found anew for another number of ranks, unless it is given."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("directory", metavar="RUN", type=Path, help="a run directory, such as runs/quickstart")
    parser.add_argument("overrides", metavar="section.field=value", nargs="*", help="what is different from here on")
    add_launcher(parser)
    add_world_size(parser)
    parser.add_argument("--accept", action="store_true", help="allow changes of the horizon, schedule and optimizer")
    parser.add_argument("--verify", action="store_true", help="read the checkpoint once more and compare its checksums")
    parser.add_argument("--unless-finished", action="store_true", help="do nothing, and well, when nothing is left")


def run(given: argparse.Namespace) -> int:
    """Continues a run from its newest complete checkpoint, the way it was or another one with the same loss."""
    directory = RunDirectory(given.directory)
    record = read_record(directory)
    if given.unless_finished and is_finished(directory):
        print(f"`{directory.root}` is finished")
        return 0
    for changed in changed_versions(record, versions()):
        print(f"the run began with other software, so that losses may differ in their last digits: {changed}")
    launch = [*launcher_override(given.on, directory.resolved), *filter(_is_launch, given.overrides)]
    others = [text for text in given.overrides if not _is_launch(text)]
    others += ["checkpoint.verify=full"] if given.verify else []
    if others or given.world_size is not None:
        code = lay_out_anew(directory, others, given.world_size, accept=given.accept)
        if code:
            return code
    return follow(directory, _launch(directory, launch) if launch else None)


def lay_out_anew(run: RunDirectory, others: Sequence[str], world_size: int | None, *, accept: bool = False) -> int:
    """Changes how a run goes on; returns the exit code of the findings that speak against it, or 0.

    `others` are overrides, and `world_size` is the new number of ranks. Raises RunError for what would make another run
    of it.
    """
    record, around = read_record(run), surroundings()
    overrides = [*_solved(run, record, others, world_size), *others]
    reading = read_spec(run.resolved, overrides)
    found = [finding for finding in check_reading(reading, around, world_size) if finding.severity is Severity.ERROR]
    sys.stderr.write(render_full(found, color=sys.stderr.isatty()))
    if code := exit_code(found):
        return code
    assert reading.spec is not None, "a spec without errors was read"
    resolved = settle(reading.spec, around, world_size=world_size, facts=record.data)
    changed = changes(record, resolved.spec)
    refuse_changes(changed, accepted=accept)
    with hold(run):
        revise_run(run, resolved, compile_spec(resolved), overrides)
    for change in changed:
        print(change)
    return 0


def _solved(run: RunDirectory, record: RunRecord, others: Sequence[str], world_size: int | None) -> list[str]:
    if any(text.startswith(_SOLVED) for text in others):
        return ["batch.gradient_accumulation_steps=auto"]
    topology = ranks_of(load_spec(run.resolved, others), world_size)
    size = fitting_micro_batch(record, topology)
    return [f"batch.micro_batch_size={size}", "batch.gradient_accumulation_steps=auto"]


def _is_launch(override: str) -> bool:
    return override.partition("=")[0].partition(".")[0] == "launch"


def _launch(run: RunDirectory, overrides: Sequence[str]) -> LaunchSpec:
    return load_spec(run.resolved, overrides).launch
