"""`zerotrain train`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from zerotrain.check.render import render_full
from zerotrain.check.runner import check_reading, placed
from zerotrain.cli.arguments import add_spec
from zerotrain.cli.check import exit_code
from zerotrain.cli.follow import add_launcher, follow, follow_together, hand_over, launcher_override, show_job
from zerotrain.compile.resolve import ranks_of
from zerotrain.diagnostic import error
from zerotrain.errors import DataError, LaunchError, RunError, SpecError
from zerotrain.hardware.probe import surroundings
from zerotrain.launch.packages import refuse_missing_packages, refuse_other_deepspeed
from zerotrain.launch.table import is_made_elsewhere
from zerotrain.launch.torchrun import is_on_several_machines
from zerotrain.runs.create import RUNS, create_run, refuse_another, refuse_existing, set_aside
from zerotrain.runs.ending import is_finished
from zerotrain.runs.layout import RunDirectory
from zerotrain.spec.load import Reading, read_spec
from zerotrain.spec.run import RunSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    add_spec(parser)
    add_launcher(parser)
    parser.add_argument("--dry-run", action="store_true", help="prepare everything, print the commands, start nothing")
    there = parser.add_mutually_exclusive_group()
    there.add_argument(
        "--fresh", action="store_true", help="start over: an existing run directory is kept under another name"
    )
    there.add_argument(
        "--continue", dest="continues", action="store_true", help="go on with the run if it is there, else start it"
    )


def run(given: argparse.Namespace) -> int:
    """Checks, prepares the data, writes the run directory, starts the workers and stays with them."""
    overrides = [*launcher_override(given.on, given.spec), *given.overrides]
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
    usual = {"on": None, "dry_run": False, "fresh": False, "continues": False, "world_size": None}
    return run(argparse.Namespace(spec=str(spec), overrides=list(overrides), **{**usual, **options}))


def _start(given: argparse.Namespace, overrides: Sequence[str], reading: Reading) -> int:
    assert reading.spec is not None, "a spec without errors was read"
    if is_made_elsewhere(reading.spec.launch):
        return _hand_over(given, reading.spec)
    refuse_missing_packages()
    refuse_other_deepspeed(reading.spec)
    # The heavy wing prepares data, but without torch, so that this stays quick.
    from zerotrain.engine.open import prepare_run

    run = RunDirectory(RUNS / reading.spec.name)
    if not (given.fresh or given.dry_run or given.continues):
        refuse_existing(run)
    new = prepare_run(Path(given.spec), overrides, given.world_size, lambda text: print(text, flush=True))
    spec, source = new.resolved.spec, (str(given.spec), *overrides, *(["--continue"] if given.continues else []))
    if given.dry_run:
        show_job(run, spec, *(source if is_on_several_machines(spec.launch) else ()))
        return 0
    if given.fresh and (aside := set_aside(run)):
        print(f"the old run is kept as `{aside}`", flush=True)
    if given.continues and run.record.exists():
        refuse_another(run, new)
        if is_finished(run):
            print(f"`{run.root}` is finished")
            return 0
        return follow(run, spec.launch)
    if is_on_several_machines(spec.launch):
        return follow_together(run, spec, source)
    return follow(create_run(new))


def _hand_over(given: argparse.Namespace, spec: RunSpec) -> int:
    """Hands over a spec as it is: where it trains its data is prepared, and its run begun or continued."""
    if given.fresh:
        message = "the run directory is where the run trains, and nothing there can be set aside with `--fresh`"
        raise LaunchError(error("ZT844", "fresh-elsewhere", message, help="choose another `name`", key="name"))
    run, topology = RunDirectory(RUNS / spec.name), ranks_of(spec, given.world_size)
    ranks = {"num_nodes": topology.num_nodes, "gpus_per_node": topology.gpus_per_node}
    spec = spec.model_copy(update={"hardware": spec.hardware.model_copy(update=ranks)})
    if given.dry_run:
        show_job(run, spec)
        return 0
    return hand_over(run, spec)
