"""`zerotrain resume`."""

from __future__ import annotations

import argparse
from pathlib import Path

from zerotrain.cli.follow import follow
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import read_record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("directory", metavar="RUN", type=Path, help="a run directory, such as runs/quickstart")


def run(given: argparse.Namespace) -> int:
    """Continues a run from its newest complete checkpoint."""
    directory = RunDirectory(given.directory)
    read_record(directory)
    return follow(directory)
