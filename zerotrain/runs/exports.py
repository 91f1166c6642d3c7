"""The exports in a run directory. One without its signature does not exist."""

from __future__ import annotations

import shutil
from pathlib import Path

from zerotrain.runs.layout import RunDirectory

SIGNATURE = "zerotrain.json"
"""File in an export that tells where it comes from, and that it may be replaced by a newer one."""


def exports(run: RunDirectory) -> list[Path]:
    """Returns the directories of all complete exports: those made on the way, newest first, then that of the end."""
    found = [*interim_exports(run), run.export]
    return [path for path in found if (path / SIGNATURE).is_file()]


def interim_exports(run: RunDirectory) -> list[Path]:
    """Returns the directories of the exports made on the way, newest first."""
    named = {path: path.name.removeprefix("step-") for path in run.exports.glob("step-*") if path.is_dir()}
    steps = {path: int(number) for path, number in named.items() if number.isascii() and number.isdigit()}
    return sorted(steps, key=lambda path: steps[path], reverse=True)


def remove_old_exports(run: RunDirectory, keep_last: int) -> None:
    """Leaves the newest exports made on the way, and nothing of those that were never completed."""
    for path in [*interim_exports(run)[keep_last:], *run.exports.glob(".*.partial")]:
        shutil.rmtree(path, ignore_errors=True)
