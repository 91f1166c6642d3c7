"""`zerotrain fetch`."""

from __future__ import annotations

import argparse
from pathlib import Path

from zerotrain.launch.packages import refuse_missing_packages
from zerotrain.units import format_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("place", metavar="PLACE", help="an archived run, such as s3://bucket/runs/quickstart")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, help="the new run directory; by default runs/NAME")
    parser.add_argument("--checkpoint", metavar="TAG", help="which checkpoint; by default the newest")


def run(given: argparse.Namespace) -> int:
    """Copies an archived run here with one checkpoint, compared with its checksums."""
    refuse_missing_packages()
    from zerotrain.checkpoint.archive import fetch_run

    directory = given.output or Path("runs", given.place.rstrip("/").rpartition("/")[2])
    checkpoint = fetch_run(given.place, directory, given.checkpoint)
    if checkpoint is None:
        print(f"`{directory}`: without a checkpoint, for none is archived")
    else:
        size = format_bytes(checkpoint.manifest.bytes)
        print(f"`{directory}`: with `{checkpoint.manifest.tag}`, {size}, compared with its checksums")
        print(f"go on with `zerotrain resume {directory}`")
    return 0
