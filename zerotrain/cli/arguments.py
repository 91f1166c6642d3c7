"""Arguments several verbs share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def add_spec(parser: argparse.ArgumentParser) -> None:
    """Adds a spec, overrides and `--world-size`."""
    parser.add_argument("spec", metavar="SPEC", help="a spec in YAML or JSON")
    parser.add_argument("overrides", metavar="section.field=value", nargs="*", help="laid over the spec")
    add_world_size(parser)


def add_world_size(parser: argparse.ArgumentParser) -> None:
    """Adds `--world-size`."""
    parser.add_argument("--world-size", type=_positive, metavar="N", help="ranks, instead of those in `hardware`")


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"`{text}` is not a number of ranks")
    return int(text)


def specs_and_overrides(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits words into files and overrides: an override has an equals sign and is no file."""
    overrides = [word for word in words if "=" in word and not _is_there(word)]
    return [word for word in words if word not in overrides], overrides


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:
        return False
