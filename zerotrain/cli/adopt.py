"""`zerotrain adopt`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zerotrain.check.dsschema.meaning import implied, is_read, spelled
from zerotrain.check.dsschema.schema import schema_of
from zerotrain.check.render import render_full
from zerotrain.cli.arguments import add_world_size
from zerotrain.compile.accelerate import deepspeed_config, is_accelerate, named_config, ranks_of
from zerotrain.compile.adopt import Draft, Knowledge, adopt
from zerotrain.compile.draft_text import draft_text
from zerotrain.diagnostic import Place, error
from zerotrain.errors import SpecError
from zerotrain.hardware.probe import surroundings
from zerotrain.spec.load import read_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("file", metavar="FILE", help="a DeepSpeed config in JSON or HJSON, or Accelerate's YAML")
    parser.add_argument("-o", "--output", metavar="SPEC", type=Path, help="write to a file, which must not exist")
    add_world_size(parser)


def run(given: argparse.Namespace) -> int:
    """Prints or writes the draft; what has to be looked at is said in it, and counted on standard error."""
    try:
        draft = _adopted(given.file, given.world_size)
    except SpecError as refused:
        sys.stderr.write(render_full(refused.findings, color=sys.stderr.isatty()))
        return 2
    text = draft_text(draft, given.file)
    if given.output is None:
        sys.stdout.write(text)
    else:
        try:
            with given.output.open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as broken:
            print(f"zerotrain adopt: cannot write `{given.output}`: {(broken.strerror or '').lower()}", file=sys.stderr)
            return 2
    print(_summary(draft), file=sys.stderr)
    return 0


def _adopted(file: str, world_size: int | None) -> Draft:
    config, schema = _content(file), schema_of()
    if is_accelerate(config):
        world_size = world_size or ranks_of(config)
        named = named_config(config)
        config = deepspeed_config(config, _content(str(Path(file).parent / named)) if named else None)
    knowledge = Knowledge(
        spelled=lambda config: spelled(config, schema),
        implied=lambda config: implied(config, schema),
        is_read=lambda key: is_read(key, schema),
    )
    return adopt(config, _name(file), knowledge, surroundings(), world_size)


def _content(file: str) -> Mapping[str, Any]:
    tree = read_config(file)
    wrong = [finding for finding in tree.findings if finding.is_error]
    if wrong:
        raise SpecError(*wrong)
    if not isinstance(tree.data, Mapping):
        raise SpecError(error("ZT011", "not-a-spec", "the file holds no keys and values").at(Place(file, 1, 1)))
    return tree.data


def _name(file: str) -> str:
    """Returns the name of the file as the name of a run."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(file).stem).lstrip("._-")[:100]
    return name or "adopted"


def _summary(draft: Draft) -> str:
    counts = (
        (draft.placeholders, "placeholders to fill in"),
        (draft.left_out, "keys not carried over"),
        (draft.changed, "keys compiled otherwise"),
    )
    return "zerotrain adopt: " + ", ".join(f"{len(entries)} {what}" for entries, what in counts)
