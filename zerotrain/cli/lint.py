"""`zerotrain lint`."""

from __future__ import annotations

import argparse
import sys

from zerotrain.check.config.runner import Circumstances, lint_tree
from zerotrain.check.dsschema.schema import NEWEST, versions
from zerotrain.cli.arguments import add_world_size
from zerotrain.cli.check import add_output, looked_at, report
from zerotrain.diagnostic import Diagnostic
from zerotrain.hardware.gpus import Gpu, find_gpu
from zerotrain.spec.load import parse_config, read_config
from zerotrain.spec.tree import Tree


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="DeepSpeed configs in JSON or HJSON")
    parser.add_argument(
        "--for",
        dest="reader",
        choices=("raw", "hf", "accelerate"),
        help="who hands it to DeepSpeed; by default HF Trainer where something is `auto`, else a script of your own",
    )
    parser.add_argument(
        "--deepspeed", metavar="VERSION", choices=versions(), default=NEWEST, help=f"one of {', '.join(versions())}"
    )
    parser.add_argument("--gpu", type=_gpu, metavar="NAME", help="what the ranks compute on: `H100-SXM`, `cpu`, …")
    parser.add_argument(
        "--model",
        choices=("dense", "moe", "moe-layers"),
        help="what is trained: no experts, experts of Hugging Face, or layers of `deepspeed.moe.layer.MoE`",
    )
    add_output(parser)
    add_world_size(parser)


def run(given: argparse.Namespace) -> int:
    """Prints every finding; returns 1 when one is an error, 2 when a file cannot be read."""
    machines = given.world_size, given.gpu
    around = Circumstances(given.reader, given.deepspeed, *machines, model=given.model)

    def look(file: str) -> tuple[list[Diagnostic], Tree]:
        tree = read_config(file)
        return lint_tree(tree, around), tree

    found = [finding for file in given.files for finding in looked_at(file, look, given, parse_config)]
    return report(found, given.files, given, sys.stdout)


def _gpu(name: str) -> Gpu:
    gpu = find_gpu(name)
    if gpu is None:
        raise argparse.ArgumentTypeError(f"`{name}` is not a known accelerator")
    return gpu
