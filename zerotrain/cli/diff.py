"""`zerotrain diff`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zerotrain.check.case import Case
from zerotrain.check.dsschema.meaning import implied, spelled
from zerotrain.check.dsschema.schema import schema_of
from zerotrain.check.render import render_full
from zerotrain.check.runner import placed
from zerotrain.cli.arguments import add_world_size
from zerotrain.compile.compare import ABSENT
from zerotrain.compile.emit import compile_spec
from zerotrain.diagnostic import Diagnostic, Place, error
from zerotrain.hardware.probe import surroundings
from zerotrain.runs.diff import TOUCHES, Difference, config_differences, grouped, spec_differences
from zerotrain.spec.load import read_config, read_spec
from zerotrain.spec.run import RunSpec

_LONGEST_VALUE = 60


@dataclass(frozen=True)
class _Side:
    """One of the two files."""

    spec: Mapping[str, Any] | None
    """Settled, as plain values; None when the file is a DeepSpeed config."""
    config: Mapping[str, Any]


class _Unreadable(Exception):
    def __init__(self, findings: Sequence[Diagnostic]) -> None:
        super().__init__()
        self.findings = findings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    for name in ("a", "b"):
        parser.add_argument(name, metavar=name.upper(), help="a spec, or a DeepSpeed config in JSON or HJSON")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how differences are printed")
    add_world_size(parser)


def run(given: argparse.Namespace) -> int:
    """Prints what differs, by what it acts on; returns 1 when anything does, 2 when a file cannot be read."""
    try:
        a, b = (_read(file, given.world_size) for file in (given.a, given.b))
    except _Unreadable as refused:
        sys.stderr.write(render_full(refused.findings, color=sys.stderr.isatty()))
        return 2
    in_spec = spec_differences(a.spec, b.spec) if a.spec is not None and b.spec is not None else []
    in_config = config_differences(a.config, b.config, implied(a.config, schema_of()), implied(b.config, schema_of()))
    if given.format == "json":
        print(json.dumps(_as_json(in_spec, in_config), indent=2))
    else:
        sys.stdout.write(_as_text(in_spec, in_config, given.a, given.b))
    return int(bool(in_spec or in_config))


def _read(file: str, world_size: int | None) -> _Side:
    tree = read_config(file)
    if not _is_spec(file, tree.data):
        if not isinstance(tree.data, Mapping) or any(f.is_error for f in tree.findings):
            raise _Unreadable(tree.findings or [_nothing(file)])
        return _Side(None, spelled(tree.data, schema_of()))
    reading = read_spec(file)
    if reading.spec is None or not reading.is_valid:
        raise _Unreadable(reading.findings)
    case = Case(reading.spec, surroundings(), world_size)
    refused = [placed(finding, reading.tree) for finding in case.refusals()]
    if refused:
        raise _Unreadable(refused)
    spec = case.resolved.spec.model_dump(mode="json")
    return _Side(spec, spelled(compile_spec(case.resolved, "deepspeed").as_dict(), schema_of()))


def _is_spec(file: str, data: Any) -> bool:
    """Tells a spec from a DeepSpeed config: by keys that only one of them has, else by the ending of its name."""
    if isinstance(data, Mapping):
        own = set(RunSpec.model_fields) - set(schema_of().sections[""].keys) | {"extends"}
        return bool(own & set(data))
    return Path(file).suffix in (".yaml", ".yml")


def _nothing(file: str) -> Diagnostic:
    return error("ZT011", "not-a-spec", "the file holds no keys and values").at(Place(file, 1, 1))


def _as_json(in_spec: Sequence[Difference], in_config: Sequence[Difference]) -> dict[str, Any]:
    spec, config = ([difference.as_json() for difference in found] for found in (in_spec, in_config))
    return {"version": 1, "equal": not (spec or config), "spec": spec, "deepspeed": config}


def _as_text(in_spec: Sequence[Difference], in_config: Sequence[Difference], a: str, b: str) -> str:
    if not in_spec and not in_config:
        return f"{a} and {b} mean the same\n"
    parts = [f"- {a}\n+ {b}\n"]
    for title, found in (("In the spec", in_spec), ("In what DeepSpeed reads", in_config)):
        if found:
            parts.append(f"\n{title}\n")
            parts += (_group(touches, group) for touches, group in grouped(found))
    return "".join(parts)


def _group(touches: Any, group: Sequence[Difference]) -> str:
    lines = [f"  {touches}: {TOUCHES[touches]}"]
    lines += (f"    {d.key}: {_shown(d.a, d.in_a)} -> {_shown(d.b, d.in_b)}" for d in group)
    return "\n".join(lines) + "\n"


def _shown(value: Any, default: Any) -> str:
    if value is ABSENT:
        return "(absent)" if default is ABSENT else f"({_shown(default, ABSENT)} by default)"
    text = json.dumps(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
