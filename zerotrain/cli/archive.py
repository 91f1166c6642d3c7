"""`zerotrain archive`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from zerotrain.diagnostic import error
from zerotrain.errors import RunError
from zerotrain.launch.packages import refuse_missing_packages
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import read_record
from zerotrain.spec.run import ArchiveSpec, RunSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("directory", metavar="RUN", type=Path, help="a run directory, such as runs/quickstart")
    parser.add_argument("--to", metavar="PLACE", help="directory or URL; by default `archive.to` of the spec")
    parser.add_argument("--checkpoint", metavar="TAG", help="which checkpoint; by default the newest")
    parser.add_argument("--exports-only", action="store_true", help="copy no checkpoint")


def run(given: argparse.Namespace) -> int:
    """Copies a run with one checkpoint and its exports; what was copied before stays."""
    run = RunDirectory(given.directory)
    spec = RunSpec.model_validate(read_record(run).resolved)
    archive = ArchiveSpec(to=given.to) if given.to is not None else spec.archive
    if archive is None:
        message = f"`{run.root}` was started without `archive`"
        raise RunError(error("ZT783", "no-archive", message, help="say where to, such as `--to s3://bucket/runs`"))
    refuse_missing_packages()
    os.environ["DS_ACCELERATOR"] = "cpu"
    from zerotrain.checkpoint.archive import archive_run

    copied = archive_run(
        run,
        archive.to,
        tag=given.checkpoint,
        with_checkpoint=not given.exports_only,
        with_exports=archive.exports or given.exports_only,
    )
    what = ", ".join(f"`{name}`" for name in copied) or "nothing new"
    print(f"copied {what} to `{archive.to.rstrip('/')}/{run.name}`")
    return 0
