"""What users read, word for word: the findings about the broken specs in `tests/golden/specs`.

Run as a script, `python tests/contracts/test_messages.py`, this writes them anew. Read the difference before keeping
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from zerotrain.check.registry import RULES
from zerotrain.check.render import render_full, summary
from zerotrain.check.runner import check_file
from zerotrain.diagnostic import Diagnostic
from zerotrain.hardware.surroundings import Surroundings

GOLDEN = Path(__file__).parents[1] / "golden"
MESSAGES = GOLDEN / "messages.txt"
SPECS = sorted((GOLDEN / "specs").glob("*.yaml"))
AROUND = Surroundings(directory=GOLDEN, cache=GOLDEN)

OVERRIDES: Mapping[str, Sequence[str]] = {
    "overridden": (
        "optimizer.lr=-1",
        "batch.micro_batch_size",
        "seed.x=1",
        "zero.stag=2",
        "model.config.hidden_sise=64",
        "parallel.pp=2",
        "parallel.ep=2",
    ),
}
"""What is laid over a spec of that name."""


def findings(spec: Path) -> list[Diagnostic]:
    """Returns the findings about a broken spec, with its bare name for its path."""
    found = check_file(spec, AROUND, OVERRIDES.get(spec.stem, ()))
    return [bare(finding) for finding in found]


def bare(finding: Diagnostic) -> Diagnostic:
    folder = f"{GOLDEN / 'specs'}/"
    place = replace(finding.place, file=(finding.place.file or "").replace(folder, "") or None)
    help = finding.help and finding.help.replace(folder, "")
    return replace(finding, message=finding.message.replace(folder, ""), help=help, place=place)


def text_of(spec: Path) -> str:
    words = " ".join(["zerotrain check", spec.name, *(repr(word) for word in OVERRIDES.get(spec.stem, ()))])
    found = findings(spec)
    return f"{'=' * 100}\n$ {words}\n\n{render_full(found)}\n{spec.name}: {summary(found)}\n\n"


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_the_messages_about_a_broken_spec_are_as_they_were(spec: Path) -> None:
    parts = {part.partition("\n")[0]: part for part in MESSAGES.read_text(encoding="utf-8").split(f"{'=' * 100}\n$ ")}
    text = text_of(spec).partition("$ ")[2]

    assert text == parts.get(text.partition("\n")[0]), "renew with `python tests/contracts/test_messages.py`"


def test_there_are_no_messages_about_a_spec_that_is_gone() -> None:
    whole = "".join(map(text_of, SPECS))

    assert MESSAGES.read_text(encoding="utf-8") == whole, "renew with `python tests/contracts/test_messages.py`"


def test_every_code_that_a_spec_can_cause_is_among_them() -> None:
    seen = {finding.code for spec in SPECS for finding in findings(spec)}
    of_specs = [rule for rule in RULES if rule.look_at_config is None]
    can = {rule.code for rule in of_specs if rule.raised_by in ("check", "reading a spec", "compiling a spec")}

    assert can - seen == set()


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_a_message_begins_small_and_ends_without_a_full_stop(spec: Path) -> None:
    for finding in findings(spec):
        assert not finding.message.endswith("."), finding.message
        assert not finding.message[:1].isupper() or finding.message.startswith("DeepSpeed"), finding.message
        assert "\n" not in finding.message


if __name__ == "__main__":
    MESSAGES.write_text("".join(map(text_of, SPECS)), encoding="utf-8")
