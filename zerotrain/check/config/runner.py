"""Runs every rule about DeepSpeed configs over a file of anyone's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zerotrain.check.config.case import AUTO, ConfigCase, Reader
from zerotrain.check.dsschema.schema import NEWEST, schema_of
from zerotrain.check.registry import CODES, RULES
from zerotrain.check.runner import placed, position
from zerotrain.check.suppress import suppress
from zerotrain.diagnostic import Diagnostic
from zerotrain.hardware.gpus import Gpu
from zerotrain.spec.load import read_config
from zerotrain.spec.tree import Tree


@dataclass(frozen=True)
class Circumstances:
    """What the file itself does not say."""

    reader: Reader | None = None
    """Who hands the config to DeepSpeed; None: guessed from the file."""
    deepspeed: str = NEWEST
    world_size: int | None = None
    gpu: Gpu | None = None
    gpus_per_node: int | None = None


def lint_file(path: str | Path, around: Circumstances) -> list[Diagnostic]:
    """Returns every finding about a DeepSpeed config in JSON or HJSON, each at its place, in the order of the file."""
    tree = read_config(path)
    return sorted(suppress(lint_tree(tree, around), tree.lines, CODES, tree.findings), key=position)


def lint_tree(tree: Tree, around: Circumstances) -> list[Diagnostic]:
    """Returns every finding about a config that was read, however badly."""
    found: Sequence[Diagnostic] = list(tree.findings)
    if isinstance(tree.data, Mapping):
        found = [*found, *(placed(finding, tree) for finding in look(case_of(tree.data, around)))]
    return sorted(found, key=position)


def case_of(config: Mapping[str, object], around: Circumstances) -> ConfigCase:
    """Returns the case of a config."""
    reader = around.reader or guessed_reader(config)
    schema = schema_of(around.deepspeed)
    return ConfigCase(config, reader, around.world_size, around.gpu, around.gpus_per_node, schema)


def guessed_reader(config: Mapping[str, object]) -> Reader:
    """Returns `hf` for a config with an `auto` in it, which only frameworks fill, else `raw`."""
    return "hf" if any(value == AUTO for _, value in ConfigCase(config).leaves()) else "raw"


def look(case: ConfigCase) -> Iterator[Diagnostic]:
    """Yields what all rules find, without places."""
    for rule in RULES:
        yield from rule.about_config(case)
