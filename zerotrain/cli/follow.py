"""Starting the workers of a run and telling what came of it."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from zerotrain.launch.attempt import prepare_job, start_together, submit
from zerotrain.launch.environment import environment_table, passed_on
from zerotrain.launch.restart import start_with_restarts
from zerotrain.launch.submit import Submission
from zerotrain.launch.table import LAUNCHERS, is_made_elsewhere, is_numbered_here
from zerotrain.launch.watch import Interrupted
from zerotrain.runs.attempts import STOPPED, Attempt
from zerotrain.runs.layout import RunDirectory
from zerotrain.spec.launch import LaunchSpec
from zerotrain.spec.load import read_spec
from zerotrain.spec.run import RunSpec


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Adds `--on`."""
    parser.add_argument("--on", choices=tuple(LAUNCHERS), help="launcher, instead of `launch.type`")


def launcher_override(launcher: str | None, spec: str | Path) -> list[str]:
    """Returns what `--on` lays over a spec, before the overrides that fill in its keys; nothing if it says the same."""
    if launcher is None:
        return []
    tree = read_spec(spec).tree.data
    written = tree.get("launch") if isinstance(tree, Mapping) else None
    is_the_same = isinstance(written, Mapping) and written.get("type") == launcher
    return [] if is_the_same else [f"launch={{type: {launcher}}}"]


def follow(run: RunDirectory, launch: LaunchSpec | None = None) -> int:
    """Starts an attempt and stays until it ends; `launch` replaces what the run was made with.

    Returns 0 when the run is finished, STOPPED when its ranks were asked to stop, and 128 + the signal's number when
    this process was. Raises LaunchError when the workers fail.
    """
    return _tell(run, lambda: start_with_restarts(run, launch, lambda text: print(text, flush=True)))


def follow_together(run: RunDirectory, spec: RunSpec, source: Sequence[str]) -> int:
    """Does the same for a run that several machines start; its ranks make the run directory of `source`."""
    return _tell(run, lambda: start_together(run, spec, source))


def hand_over(run: RunDirectory, spec: RunSpec) -> int:
    """Hands over a run whose directory is made where it trains."""
    return _tell(run, lambda: submit(run, spec))


def show_job(run: RunDirectory, spec: RunSpec, *source: str) -> None:
    """Prints what would be started, and the environment of the ranks."""
    attempt = 1 if is_numbered_here(spec.launch) else None
    job = prepare_job(run, spec, attempt, port=29500, source=source)
    print("would start:" if is_made_elsewhere(spec.launch) else f"would write `{run.root}` and start:")
    for command in job.commands:
        print(f"  {shlex.join(command.arguments)}")
    for path, text in job.files.items():
        print(f"\nwith `{path}`:\n{text}")
    rows = environment_table(job, spec.launch)
    width = max((len(f"{row.name}={row.value}") for row in rows), default=0)
    print("\nenvironment of the ranks:" if rows else "")
    for row in rows:
        print(f"  {f'{row.name}={row.value}':{width}}  {row.source}")
    if spec.hardware.num_nodes > 1 and not is_made_elsewhere(spec.launch):
        print(f"other machines also get, as they are here: {', '.join(passed_on())}")


def _tell(run: RunDirectory, start: Callable[[], Attempt | Submission]) -> int:
    try:
        attempt = start()
    except Interrupted as interrupted:
        print(f"\nstopped by {interrupted}; continue with `zerotrain resume {run.root}`")
        return 128 + interrupted.number
    if isinstance(attempt, Submission):
        print(f"submitted to {attempt.launcher} as job {attempt.name}")
        print("\n".join(attempt.hints))
        return 0
    if attempt.outcome == "stopped":
        print(f"\nstopped: {attempt.reason}; continue with `zerotrain resume {run.root}`")
        return STOPPED
    print(_what_next(run))
    return 0


def _what_next(run: RunDirectory) -> str:
    steps = [
        f"run directory    {run.root}",
        f"metrics          {run.metrics}",
        *([f"curves           tensorboard --logdir {run.tensorboard}"] if run.tensorboard.exists() else []),
        f"where it stands  zerotrain status {run.root}",
        *([f"weights          {run.export}"] if run.export.exists() else []),
        *([] if run.export.exists() else [f"weights          zerotrain export {run.root} -o DIR"]),
    ]
    return "\n".join(["", *steps])
