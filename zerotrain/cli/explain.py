"""`zerotrain explain`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from textwrap import indent
from typing import Any

from zerotrain.check.case import Case
from zerotrain.check.registry import RULES, find_rule
from zerotrain.check.render import render_full
from zerotrain.check.rule import Rule
from zerotrain.check.runner import placed
from zerotrain.cli.arguments import add_world_size
from zerotrain.cli.check import exit_code
from zerotrain.compile.compare import leaves
from zerotrain.compile.dsconfig import Setting
from zerotrain.compile.emit import compile_spec
from zerotrain.compile.resolve import Resolved
from zerotrain.hardware.probe import surroundings
from zerotrain.spec.load import read_spec
from zerotrain.spec.suggest import nearest
from zerotrain.spec.tree import Tree


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("subject", metavar="CODE|KEY", help="a code such as ZT101, or a key of the spec or the JSON")
    parser.add_argument("spec", metavar="SPEC", nargs="?", help="the spec whose key is explained")
    parser.add_argument("overrides", metavar="section.field=value", nargs="*", help="laid over the spec")
    add_world_size(parser)


def run(given: argparse.Namespace) -> int:
    """Prints a rule's page, or where a value comes from."""
    rule = find_rule(given.subject)
    if rule is not None:
        sys.stdout.write(page_text(rule))
        return 0
    if given.spec is None:
        return _unknown(given.subject, "code", [known for rule in RULES for known in (rule.code, rule.name)])
    return _explain_key(given.subject, given)


def page_text(rule: Rule) -> str:
    """Returns a rule's page as plain text."""
    page = rule.page
    parts = [f"{rule.code} {rule.name} (reported by {rule.raised_by})", "", page.summary, "", f"Why: {page.why}"]
    parts += ["", "Wrong:", indent(page.wrong, "  "), "Right:", indent(page.right, "  "), ""]
    return "\n".join(parts)


def _unknown(subject: str, kind: str, known: list[str]) -> int:
    near = nearest(subject, known)
    hint = f"; did you mean `{near}`?" if near else ""
    print(f"zerotrain explain: there is no {kind} `{subject}`{hint}", file=sys.stderr)
    return 2


def _explain_key(key: str, given: argparse.Namespace) -> int:
    reading = read_spec(given.spec, given.overrides)
    if reading.spec is None or not reading.is_valid:
        print(f"zerotrain explain: `{given.spec}` has errors; see `zerotrain check {given.spec}`", file=sys.stderr)
        return exit_code(reading.findings)
    case = Case(reading.spec, surroundings(), given.world_size)
    refused = [placed(finding, reading.tree) for finding in case.refusals()]
    if refused:
        sys.stderr.write(render_full(refused, color=sys.stderr.isatty()))
        return exit_code(refused)
    compiled = compile_spec(case.resolved, "deepspeed").settings()
    settled = dict(leaves(case.resolved.spec.model_dump(mode="json")))
    lines = [_json_line(name, compiled[name], reading.tree) for name in _inside(key, compiled)]
    lines += [_spec_line(name, settled[name], case.resolved, compiled, reading.tree) for name in _inside(key, settled)]
    if not lines:
        return _unknown(key, "key", [*compiled, *settled])
    print("\n".join(lines))
    return 0


def _inside(key: str, known: Iterable[str]) -> list[str]:
    """Returns the key, if it is known, and what is inside it."""
    return [name for name in known if name == key or name.startswith((f"{key}.", f"{key}["))]


def _json_line(name: str, setting: Setting, tree: Tree) -> str:
    text = f"{name} = {json.dumps(setting.value)}, from `{setting.source}`: {setting.why}"
    return f"{text} ({_where(tree, setting.source)})" if setting.why == "as written" else text


def _spec_line(key: str, value: Any, resolved: Resolved, compiled: Mapping[str, Setting], tree: Tree) -> str:
    if key in resolved.derivations:
        origin = f"settled: {resolved.derivations[key]}"
    else:
        is_written = key in resolved.written or tree.path_of(key) in tree.marks
        origin = f"written at {_where(tree, key)}" if is_written else "the default"
    users = ", ".join(name for name, setting in compiled.items() if setting.source == key)
    return f"{key} = {json.dumps(value)}, {origin}; {f'compiled to {users}' if users else 'DeepSpeed does not see it'}"


def _where(tree: Tree, key: str) -> str:
    place = tree.place_of(key)
    return f"{place.file}:{place.line}:{place.column}"
