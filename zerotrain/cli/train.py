"""`zerotrain train`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from zerotrain.check.render import render_full
from zerotrain.check.runner import check_reading, placed
from zerotrain.cli.arguments import add_spec
from zerotrain.cli.check import exit_code
from zerotrain.cli.follow import follow
from zerotrain.errors import DataError, LaunchError, RunError, SpecError
from zerotrain.hardware.probe import surroundings
from zerotrain.launch.attempt import prepare_job, refuse_missing_packages, refuse_other_deepspeed
from zerotrain.runs.create import RUNS, create_run, refuse_existing, set_aside
from zerotrain.runs.layout import RunDirectory
from zerotrain.spec.load import Reading, read_spec
from zerotrain.spec.run import RunSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    add_spec(parser)
    parser.add_argument("--on", choices=("local", "deepspeed", "torchrun"), help="launcher, instead of `launch.type`")
    parser.add_argument("--dry-run", action="store_true", help="prepare everything, print the commands, start nothing")
    parser.add_argument(
        "--fresh", action="store_true", help="start over: an existing run directory is kept under another name"
    )


def run(given: argparse.Namespace) -> int:
    """Checks, prepares the data, writes the run directory, starts the workers and stays with them."""
    overrides = [*given.overrides, *([f"launch={{type: {given.on}}}"] if given.on else [])]
    reading = read_spec(given.spec, overrides)
    found = check_reading(reading, surroundings(), given.world_size)
    sys.stderr.write(render_full(found, color=sys.stderr.isatty()))
    if code := exit_code(found):
        return code
    try:
        return _start(given, overrides, reading)
    except (RunError, SpecError, DataError, LaunchError) as refused:
        raise type(refused)(*(placed(finding, reading.tree) for finding in refused.findings)) from None


def train(spec: str | Path, overrides: Sequence[str] = (), **options: object) -> int:
    """Trains a spec as the command line does and returns the exit code; options are those of the command line."""
    usual = {"on": None, "dry_run": False, "fresh": False, "world_size": None}
    return run(argparse.Namespace(spec=str(spec), overrides=list(overrides), **{**usual, **options}))


def _start(given: argparse.Namespace, overrides: Sequence[str], reading: Reading) -> int:
    assert reading.spec is not None, "a spec without errors was read"
    refuse_missing_packages()
    refuse_other_deepspeed(reading.spec)
    # The heavy wing prepares data, but without torch, so that this stays quick.
    from zerotrain.engine.open import prepare_run

    run = RunDirectory(RUNS / reading.spec.name)
    if not given.fresh and not given.dry_run:
        refuse_existing(run)
    new = prepare_run(Path(given.spec), overrides, given.world_size, lambda text: print(text, flush=True))
    if given.dry_run:
        return _show(run, new.resolved.spec)
    if given.fresh and (aside := set_aside(run)):
        print(f"the old run is kept as `{aside}`", flush=True)
    return follow(create_run(new))


def _show(run: RunDirectory, spec: RunSpec) -> int:
    """Prints what would be started."""
    print(f"would write `{run.root}` and start:")
    for command in prepare_job(run, spec, attempt=1, port=29500).commands:
        variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in command.environment.items())
        print(f"{variables} {shlex.join(command.arguments)}")
    return 0
