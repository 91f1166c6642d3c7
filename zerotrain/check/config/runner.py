"""Runs every rule about DeepSpeed configs over a file of anyone's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zerotrain.check.config.accelerate import in_yaml
from zerotrain.check.config.case import AUTO, ConfigCase, Model, Reader
from zerotrain.check.config.frameworks import HF_TRAINER_FILLS
from zerotrain.check.dsschema.schema import NEWEST, schema_of
from zerotrain.check.registry import CODES, RULES
from zerotrain.check.runner import placed, position
from zerotrain.check.suppress import suppress
from zerotrain.compile.accelerate import deepspeed_config, is_accelerate, named_config, ranks_of
from zerotrain.diagnostic import Diagnostic
from zerotrain.hardware.gpus import Gpu
from zerotrain.spec.hjson import as_json
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
    model: Model | None = None


def lint_file(path: str | Path, around: Circumstances) -> list[Diagnostic]:
    """Returns every finding about a DeepSpeed config in JSON or HJSON, or about a YAML file of Accelerate's.

    Each finding is at its place, in the order of the file.
    """
    return lint_tree(read_config(path), around)


def lint_tree(tree: Tree, around: Circumstances) -> list[Diagnostic]:
    """Returns every finding about a file that was read, however badly."""
    if is_accelerate(tree.data) and isinstance(tree.data.get("distributed_type"), str):
        return _lint_accelerate(tree, around)
    return _lint_config(tree, around)


def _lint_config(tree: Tree, around: Circumstances) -> list[Diagnostic]:
    reader = around.reader or guessed_reader(tree.data)
    if reader != "raw":
        tree = as_json(tree)
    is_config = isinstance(tree.data, Mapping)
    return _told(look(case_of(tree.data, replace(around, reader=reader))) if is_config else [], tree)


def _lint_accelerate(tree: Tree, around: Circumstances) -> list[Diagnostic]:
    """Looks at the config Accelerate makes of its YAML, or at the one the YAML names."""
    around = replace(around, reader="accelerate", world_size=around.world_size or ranks_of(tree.data))
    named, file = named_config(tree.data), Path(next(iter(tree.lines), ""))
    if named is not None:
        # Accelerate looks from where it is started; a config beside its YAML is meant just as well.
        path = Path(named) if Path(named).is_file() else file.parent / named
        return [*tree.findings, *_lint_config(read_config(path), around)]
    if tree.data.get("distributed_type") != "DEEPSPEED":
        return list(tree.findings)
    return _told(list(in_yaml(look(case_of(deepspeed_config(tree.data), around)), tree)), tree)


def _told(found: Sequence[Diagnostic], tree: Tree) -> list[Diagnostic]:
    """Returns the findings of a reader and those of rules, at their places, without those the file silences."""
    told = [*tree.findings, *(placed(finding, tree) for finding in found)]
    return sorted(suppress(told, tree.lines, CODES, tree.findings), key=position)


def case_of(config: Mapping[str, object], around: Circumstances) -> ConfigCase:
    """Returns the case of a config."""
    reader = around.reader or guessed_reader(config)
    schema = schema_of(around.deepspeed)
    machines = around.world_size, around.gpu, around.gpus_per_node
    return ConfigCase(config, reader, *machines, schema, around.model)


def guessed_reader(config: object) -> Reader:
    """Returns `hf` for a config with an `auto` that HF Trainer fills, else `raw`."""
    leaves = ConfigCase(config).leaves() if isinstance(config, Mapping) else ()
    return "hf" if any(value == AUTO and path in HF_TRAINER_FILLS for path, value in leaves) else "raw"


def look(case: ConfigCase) -> list[Diagnostic]:
    """Returns what all rules find, without places; of a key that is refused, only that."""
    found = [finding for rule in RULES for finding in rule.about_config(case)]
    refused = {finding.place.key for finding in found if finding.is_error}
    return [finding for finding in found if finding.is_error or finding.place.key not in refused]
