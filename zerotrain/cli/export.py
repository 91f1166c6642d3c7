"""`zerotrain export`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from zerotrain.launch.attempt import refuse_missing_packages
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import read_record
from zerotrain.units import format_count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("directory", metavar="RUN", type=Path, help="a run directory, such as runs/quickstart")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, required=True, help="where the weights go")
    parser.add_argument("--dtype", choices=("fp32", "bf16", "fp16"), help="format; by default the training dtype")
    parser.add_argument(
        "--adapter",
        choices=("merged", "alone"),
        help="merged into the weights, or alone as peft reads it; by default what the spec says",
    )
    parser.add_argument("--checkpoint", metavar="TAG", help="which checkpoint; by default the newest")


def run(given: argparse.Namespace) -> int:
    """Writes the weights, reads them back, and compares them with the model."""
    source = RunDirectory(given.directory)
    read_record(source)
    refuse_missing_packages()
    os.environ["DS_ACCELERATOR"] = "cpu"  # weights are only merged: leave the accelerators alone
    from zerotrain.checkpoint.export import export_run

    exported = export_run(source, given.output, dtype=given.dtype, tag=given.checkpoint, adapter=given.adapter)
    count = format_count(exported.parameters)
    print(f"{exported.directory}: {count} parameters of `{exported.tag}` in {exported.dtype}, read back and compared")
    return 0
