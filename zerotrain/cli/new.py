"""`zerotrain new`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

STORIES = Path(__file__).parent / "stories"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("story", metavar="STORY", nargs="?", default="pretrain", help="what to begin with: pretrain")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="write to a file, which must not exist")


def run(given: argparse.Namespace) -> int:
    """Prints or writes a commented spec."""
    story = STORIES / f"{given.story}.yaml"
    if story.parent != STORIES or not story.is_file():
        known = ", ".join(sorted(path.stem for path in STORIES.glob("*.yaml")))
        print(f"zerotrain new: there is no story `{given.story}`; known: {known}", file=sys.stderr)
        return 2
    text = story.read_text(encoding="utf-8")
    if given.output is None:
        sys.stdout.write(text)
        return 0
    try:
        with given.output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as broken:
        print(f"zerotrain new: cannot write `{given.output}`: {(broken.strerror or '').lower()}", file=sys.stderr)
        return 2
    print(f"wrote `{given.output}`; check it with `zerotrain check {given.output}`")
    return 0
