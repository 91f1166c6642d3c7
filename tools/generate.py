"""Writes everything that is generated from sources: compiled examples, rule pages, the schema.

`python tools/generate.py` writes; `--check` writes nothing and fails when a file is not up to date.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from zerotrain.check.case import Case
from zerotrain.check.registry import RULES
from zerotrain.check.rule import Rule
from zerotrain.compile.emit import compile_spec
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.spec.load import load_spec
from zerotrain.spec.schema import spec_schema

ROOT = Path(__file__).resolve().parent.parent
NOWHERE = Surroundings(directory=Path(), cache=Path())
OWNED = ("ds_configs", "docs/rules")
"""Directories in which nothing else stands."""


def main() -> int:
    """Writes or checks every generated file; returns 1 when one was not up to date and only a check was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    given = parser.parse_args()
    wanted = dict(generated())
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    left = [path for folder in OWNED for path in (ROOT / folder).glob("*") if path not in wanted]
    for path in [*stale, *left]:
        print(f"{'not up to date' if given.check else 'written'}: {path.relative_to(ROOT)}")
    if given.check:
        return int(bool(stale or left))
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
    for path in left:
        path.unlink()
    return 0


def generated() -> Iterator[tuple[Path, str]]:
    """Yields every generated file with its text."""
    for example in sorted((ROOT / "examples").glob("*.yaml")):
        case = Case(load_spec(example), NOWHERE)
        yield ROOT / "ds_configs" / f"{example.stem}.json", compile_spec(case.resolved, "deepspeed").as_json()
    for rule in RULES:
        yield ROOT / "docs" / "rules" / f"{rule.code}.md", page(rule)
    yield ROOT / "docs" / "rules" / "README.md", index()
    yield ROOT / "docs" / "schema.json", json.dumps(spec_schema(), indent=2) + "\n"


def page(rule: Rule) -> str:
    """Returns a rule's page."""
    parts = rule.page
    wrong, right = (text if "`" in text else f"`{text}`" for text in (parts.wrong, parts.right))
    return (
        f"# {rule.code} {rule.name}\n\n{parts.summary}\n\nReported by: {rule.raised_by}.\n\n## Why\n\n{parts.why}\n\n"
        f"## Wrong\n\n{wrong}\n\n## Right\n\n{right}\n"
    )


def index() -> str:
    """Returns the list of all codes."""
    rows = "".join(f"| [{r.code}]({r.code}.md) | {r.name} | {r.page.summary} |\n" for r in RULES)
    return (
        "# Codes\n\nEvery finding has a code. `zerotrain explain CODE` prints its page.\n\n"
        f"| code | name | what it says |\n|---|---|---|\n{rows}"
    )


if __name__ == "__main__":
    sys.exit(main())
