"""A code means the same for ever, and everyone who meets it finds its page."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from zerotrain.check.registry import RULES
from zerotrain.check.rule import Rule

ROOT = Path(__file__).parents[2]

CODES = {
    "ZT001": "unreadable-file",
    "ZT002": "not-utf8-spec",
    "ZT003": "invalid-yaml",
    "ZT004": "duplicate-key",
    "ZT005": "unknown-key",
    "ZT006": "missing-key",
    "ZT007": "invalid-value",
    "ZT008": "quoted-number",
    "ZT009": "circular-extends",
    "ZT010": "bad-override",
    "ZT011": "not-a-spec",
    "ZT020": "no-model",
    "ZT021": "unknown-architecture",
    "ZT022": "unknown-model-key",
    "ZT023": "unusable-pretrained",
    "ZT024": "impossible-model",
    "ZT101": "indivisible-global-batch",
    "ZT102": "contradicting-batch",
    "ZT103": "endless-warmup",
    "ZT104": "idle-interval",
    "ZT105": "large-learning-rate",
    "ZT106": "nothing-to-evaluate",
    "ZT107": "nesterov-without-momentum",
    "ZT108": "clipped-muon",
    "ZT109": "uncounted-schedule",
    "ZT110": "unmet-expectation",
    "ZT201": "unsupported-fp16",
    "ZT202": "unsupported-bf16",
    "ZT203": "mixed-accumulation-at-stage-0",
    "ZT204": "sixteen-bit-accumulation",
    "ZT205": "loss-scale-without-fp16",
    "ZT206": "foreign-accumulation",
    "ZT301": "ignored-offload-param",
    "ZT302": "offload-without-zero",
    "ZT303": "nvme-without-path",
    "ZT304": "nvme-optimizer-below-stage-3",
    "ZT305": "partial-offload-below-stage-3",
    "ZT306": "cuda-only-optimizer",
    "ZT307": "lamb-without-loss-scale",
    "ZT308": "ignored-checkpointing-option",
    "ZT310": "overwritten-key",
    "ZT401": "unfilled-axes",
    "ZT402": "unavailable-axis",
    "ZT403": "unknown-gpu",
    "ZT601": "missing-data",
    "ZT602": "not-utf8",
    "ZT603": "empty-data",
    "ZT604": "unreadable-data",
    "ZT605": "unwritable-cache",
    "ZT606": "unreadable-tokenizer",
    "ZT607": "empty-document",
    "ZT608": "damaged-store",
    "ZT610": "overlong-sequence",
    "ZT611": "small-vocabulary",
    "ZT612": "tokenizer-without-path",
    "ZT701": "existing-run",
    "ZT702": "not-a-run",
    "ZT703": "damaged-record",
    "ZT704": "unwritable-run",
    "ZT705": "nothing-to-resume",
    "ZT706": "other-world-size",
    "ZT707": "unsaved-checkpoint",
    "ZT708": "wrong-export",
    "ZT709": "finished-run",
    "ZT710": "lost-data",
    "ZT711": "damaged-checkpoint",
    "ZT712": "foreign-directory",
    "ZT713": "busy-run",
    "ZT801": "no-compiler",
    "ZT802": "missing-packages",
    "ZT803": "engine-differs",
    "ZT804": "unread-key",
    "ZT805": "failed-worker",
    "ZT806": "killed-worker",
    "ZT807": "leaking-documents",
    "ZT808": "named-devices",
    "ZT809": "other-deepspeed",
    "ZT810": "one-machine-launcher",
    "ZT811": "no-hostfile",
    "ZT812": "include-and-exclude",
    "ZT813": "unknown-deepspeed-version",
    "ZT901": "unknown-deepspeed-key",
    "ZT902": "removed-deepspeed-key",
    "ZT903": "unfilled-auto",
}
"""Written out once more: a code is never used again for something else, and a name is never changed."""

FAMILIES = "012346789"
"""Reading · batch · precision · ZeRO · parallel · data · runs · launch · versions; ZT5 is kept for memory."""


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((ROOT / "zerotrain").rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def named_codes() -> list[tuple[str, str, str]]:
    """Returns every code that stands beside a name in the source, with where it stands."""
    found = []
    for path, tree in trees():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            texts = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
            where = f"{path.relative_to(ROOT)}:{call.lineno}"
            found += [(str(code), str(name), where) for code, name in pairwise(texts) if is_code(code)]
    return found


def is_code(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"ZT[0-9]{3}", value) is not None


def test_codes_and_names_are_frozen() -> None:
    assert {rule.code: rule.name for rule in RULES} == CODES


def test_codes_and_names_are_unique() -> None:
    assert len({rule.code for rule in RULES}) == len({rule.name for rule in RULES}) == len(RULES)


def test_codes_are_in_order() -> None:
    codes = [rule.code for rule in RULES]

    assert codes == sorted(codes)
    assert "".join(dict.fromkeys(code[2] for code in codes)) == FAMILIES


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_name_is_a_few_lower_case_words(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", rule.name)


def test_every_code_in_the_source_has_the_name_of_its_page() -> None:
    wrong = [(code, name, where) for code, name, where in named_codes() if CODES.get(code) != name]

    assert wrong == []
    assert {code for code, _, _ in named_codes()} == set(CODES)


def test_every_code_that_is_only_mentioned_exists() -> None:
    mentioned = {
        code
        for _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for code in re.findall(r"\bZT[0-9]{3}\b", node.value)
    }

    assert mentioned <= set(CODES)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.look is None], ids=lambda rule: rule.code)
def test_a_code_that_no_rule_finds_is_reported_by_someone(rule: Rule) -> None:
    """Its page alone, in check/rules, is not enough."""
    reporters = [where for code, _, where in named_codes() if code == rule.code and "check/rules/" not in where]
    texts = [path for path in (ROOT / "zerotrain").rglob("*.py") if f"{rule.code} {rule.name}" in path.read_text()]

    assert rule.raised_by != "check"
    assert reporters or texts


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_every_page_is_complete(rule: Rule) -> None:
    page = rule.page

    assert all((page.summary, page.why, page.wrong, page.right))
    assert page.summary.endswith(".")
    assert "\n" not in page.summary
    assert page.wrong != page.right
    assert not re.search(r"\b(Why|Wrong|Right):", page.summary + page.why + page.wrong + page.right)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_every_page_stands_in_the_documentation(rule: Rule) -> None:
    text = (ROOT / "docs" / "rules" / f"{rule.code}.md").read_text(encoding="utf-8")

    assert text.startswith(f"# {rule.code} {rule.name}\n\n{rule.page.summary}\n")
    assert rule.page.why in text


def test_the_documentation_has_no_page_too_many() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "rules").glob("*.md")} - {"README"}

    assert pages == set(CODES)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.look is not None], ids=lambda rule: rule.code)
def test_every_rule_has_one_severity_and_a_test(rule: Rule) -> None:
    assert rule.look is not None
    severities = set(re.findall(r"\bcase\.(error|wrong_key|warning|info)\(", inspect.getsource(rule.look)))
    tests = "".join(path.read_text() for path in (ROOT / "tests" / "check" / "rules").glob("test_*.py"))

    assert len(severities) == 1 or rule.code == "ZT023"  # which passes on a finding of the reader
    assert f"def test_{rule.code.lower()}" in tests
