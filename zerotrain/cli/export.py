"""`zerotrain export`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from zerotrain.launch.packages import refuse_missing_packages
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import read_record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("directory", metavar="RUN", type=Path, help="a run directory, such as runs/quickstart")
    parser.add_argument(
        "-o", "--output", metavar="DIR", required=True, help="where the weights go: a directory or a URL"
    )
    parser.add_argument("--dtype", choices=("fp32", "bf16", "fp16"), help="format; by default the training dtype")
    parser.add_argument("--checkpoint", metavar="TAG", help="which checkpoint, or `best`; by default the newest")
    parser.add_argument(
        "--weights",
        choices=("model", "ema"),
        help="as trained, or their average; by default the average if there is one",
    )
    parser.add_argument(
        "--adapter",
        choices=("merged", "alone"),
        help="merged into the weights, or alone as peft reads it; by default what the spec says",
    )


def run(given: argparse.Namespace) -> int:
    """Writes the weights, reads them back, and compares them with the model."""
    source = RunDirectory(given.directory)
    read_record(source)
    refuse_missing_packages()
    os.environ["DS_ACCELERATOR"] = "cpu"  # weights are only merged: leave the accelerators alone
    from zerotrain.checkpoint.archive import export_to
    from zerotrain.checkpoint.export import export_run

    chosen = {"tag": given.checkpoint, "weights": given.weights, "adapter": given.adapter, "dtype": given.dtype}
    if "://" in given.output:
        exported = export_to(given.output, source, **chosen)
    else:
        exported = export_run(source, Path(given.output), **chosen)
    print(f"{given.output}: {exported}, read back and compared")
    return 0
