"""`zerotrain explain`."""

from __future__ import annotations

import argparse
import sys
from textwrap import indent

from zerotrain.check.case import Case
from zerotrain.check.registry import RULES, find_rule
from zerotrain.check.rule import Rule
from zerotrain.compile.dsconfig import Setting
from zerotrain.compile.emit import compile_spec
from zerotrain.hardware.probe import surroundings
from zerotrain.spec.load import read_spec
from zerotrain.spec.suggest import nearest
from zerotrain.spec.tree import undotted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("subject", metavar="CODE|KEY", help="a code such as ZT101, or a key of the spec or the JSON")
    parser.add_argument("spec", metavar="SPEC", nargs="?", help="the spec whose key is explained")
    parser.add_argument("overrides", metavar="section.field=value", nargs="*", help="laid over the spec")


def run(given: argparse.Namespace) -> int:
    """Prints a rule's page, or where a value comes from."""
    rule = find_rule(given.subject)
    if rule is not None:
        sys.stdout.write(page_text(rule))
        return 0
    if given.spec is None:
        return _unknown(given.subject, "code", [known for rule in RULES for known in (rule.code, rule.name)])
    return _explain_key(given.subject, given.spec, given.overrides)


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


def _explain_key(key: str, spec: str, overrides: list[str]) -> int:
    reading = read_spec(spec, overrides)
    if reading.spec is None or not reading.is_valid:
        print(f"zerotrain explain: `{spec}` has errors; see `zerotrain check {spec}`", file=sys.stderr)
        return 1
    case = Case(reading.spec, surroundings())
    compiled = compile_spec(case.resolved, "deepspeed").settings()
    inside = {name: setting for name, setting in compiled.items() if name == key or name.startswith(f"{key}.")}
    for name, setting in inside.items():
        print(_origin(name, setting, reading.tree))
    derived = [(name, why) for name, why in case.resolved.derivations.items() if name == key]
    for name, why in derived:
        print(f"{name}: settled, because {why}")
    written = undotted(key) in reading.tree.marks
    if written and not derived and not inside:
        place = reading.tree.place(undotted(key))
        users = [name for name, setting in compiled.items() if setting.source == key]
        print(
            f"{key}: written at {place.file}:{place.line}:{place.column}; compiled to {', '.join(users) or 'nothing'}"
        )
    if not (inside or derived or written):
        return _unknown(key, "key", [*compiled, *case.resolved.derivations])
    return 0


def _origin(name: str, setting: Setting, tree: object) -> str:
    text = f"{name} = {setting.value!r}, from `{setting.source}`: {setting.why}"
    place = tree.place(undotted(setting.source))  # type: ignore[attr-defined]
    is_written = undotted(setting.source) in tree.marks  # type: ignore[attr-defined]
    return f"{text} ({place.file}:{place.line}:{place.column})" if is_written else text
