"""Starting the workers of a run and telling what came of it."""

from __future__ import annotations

from zerotrain.launch.attempt import start_attempt
from zerotrain.launch.watch import Interrupted
from zerotrain.runs.layout import RunDirectory


def follow(run: RunDirectory) -> int:
    """Starts an attempt and stays until it ends; returns 0 when the run is finished.

    Raises LaunchError when the workers fail.
    """
    try:
        start_attempt(run)
    except Interrupted as interrupted:
        print(f"\nstopped by {interrupted}; continue with `zerotrain resume {run.root}`")
        return 128 + interrupted.number
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
