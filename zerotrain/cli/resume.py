"""`zerotrain resume`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from zerotrain.cli.follow import add_launcher, follow, launcher_override
from zerotrain.diagnostic import error
from zerotrain.errors import RunError
from zerotrain.runs.attempts import is_finished
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import read_record
from zerotrain.spec.launch import LaunchSpec
from zerotrain.spec.load import load_spec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("directory", metavar="RUN", type=Path, help="a run directory, such as runs/quickstart")
    parser.add_argument("overrides", metavar="launch.field=value", nargs="*", help="how it is started this time")
    add_launcher(parser)
    parser.add_argument("--unless-finished", action="store_true", help="do nothing, and well, when nothing is left")


def run(given: argparse.Namespace) -> int:
    """Continues a run from its newest complete checkpoint."""
    directory = RunDirectory(given.directory)
    read_record(directory)
    if given.unless_finished and is_finished(directory):
        print(f"`{directory.root}` is finished")
        return 0
    overrides = [*launcher_override(given.on, directory.resolved), *given.overrides]
    return follow(directory, _launch(directory, overrides) if overrides else None)


def _launch(run: RunDirectory, overrides: Sequence[str]) -> LaunchSpec:
    other = [text for text in overrides if text.split("=")[0].split(".")[0] != "launch"]
    if other:
        message = f"`{other[0]}` would make another run of it"
        help = "only `launch` may be given; for the rest start a new run, from its export if need be"
        raise RunError(error("ZT715", "changed-run", message, help=help))
    return load_spec(run.resolved, overrides).launch
