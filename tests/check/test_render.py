"""Findings as text for people, for tools, and for GitHub."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from zerotrain.check.render import FORMATS, render_concise, render_full, render_github, render_json, summary
from zerotrain.diagnostic import Diagnostic, Fix, Place, Severity

LINE = "batch: {global_batch_size: 100, micro_batch_size: 8}"
ERROR = Diagnostic(
    "ZT101",
    "indivisible-global-batch",
    Severity.ERROR,
    "100 is not a multiple of 64",
    Place("run.yaml", 12, 28, "batch.global_batch_size", LINE, 3),
    "use 64 or 128",
    Fix("use 128", "batch.global_batch_size", 128),
)
WARNING = Diagnostic("ZT105", "large-learning-rate", Severity.WARNING, "very large", Place("run.yaml", 3, 1))
INFO = Diagnostic("ZT500", "a-better-way", Severity.INFO, "there is one", Place("run.yaml"))
NOWHERE = Diagnostic("ZT802", "missing-packages", Severity.ERROR, "no `torch`", help="install it")

FULL = """\
run.yaml:12:28: error[ZT101] indivisible-global-batch
     |
  12 | batch: {global_batch_size: 100, micro_batch_size: 8}
     |                            ^^^
  = 100 is not a multiple of 64
  help: use 64 or 128

run.yaml:3:1: warning[ZT105] large-learning-rate
  = very large

run.yaml: info[ZT500] a-better-way
  = there is one

error[ZT802] missing-packages
  = no `torch`
  help: install it
"""
CONCISE = """\
run.yaml:12:28: error[ZT101] indivisible-global-batch: 100 is not a multiple of 64
run.yaml:3:1: warning[ZT105] large-learning-rate: very large
run.yaml: info[ZT500] a-better-way: there is one
error[ZT802] missing-packages: no `torch`
"""
GITHUB = """\
::error file=run.yaml,line=12,col=28,title=ZT101 indivisible-global-batch::100 is not a multiple of 64%0Ahelp: use 64 or 128
::warning file=run.yaml,line=3,col=1,title=ZT105 large-learning-rate::very large
::notice file=run.yaml,title=ZT500 a-better-way::there is one
::error title=ZT802 missing-packages::no `torch`%0Ahelp: install it
"""  # noqa: E501
ALL = [ERROR, WARNING, INFO, NOWHERE]


@pytest.mark.parametrize(("render", "text"), [(render_full, FULL), (render_concise, CONCISE), (render_github, GITHUB)])
def test_the_text_of_all_kinds_of_findings(render: Callable[..., str], text: str) -> None:
    assert render(ALL) == text


def test_the_json_is_the_contract_s() -> None:
    content = json.loads(render_json(ALL))

    assert list(content) == ["version", "findings"]
    assert content["version"] == 1
    assert content["findings"] == [finding.as_json() for finding in ALL]
    assert content["findings"][0] == {
        "code": "ZT101",
        "name": "indivisible-global-batch",
        "severity": "error",
        "message": "100 is not a multiple of 64",
        "file": "run.yaml",
        "line": 12,
        "column": 28,
        "key": "batch.global_batch_size",
        "help": "use 64 or 128",
        "fix": {"title": "use 128", "key": "batch.global_batch_size", "value": 128, "renames": False},
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_json_is_json_whatever_the_fix(value: float) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = render_json([Diagnostic("ZT008", "x", Severity.ERROR, "y", fix=Fix("z", "k", value))])

    json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(
    ("name", "empty"),
    [("full", ""), ("concise", ""), ("github", ""), ("json", '{\n  "version": 1,\n  "findings": []\n}\n')],
)
def test_nothing_to_tell_is_told_in_every_format(name: str, empty: str) -> None:
    assert FORMATS[name]([], False) == empty


def test_color_stands_around_the_severity_only() -> None:
    plain, colored = render_full([ERROR]), render_full([ERROR], True)

    assert "\033[1m\033[31merror[ZT101]\033[0m" in colored
    assert colored.replace("\033[1m\033[31m", "").replace("\033[0m", "") == plain
    assert "\033" not in plain
    assert "\033" not in render_json([ERROR], True) + render_github([ERROR], True)


@pytest.mark.parametrize(
    ("message", "escaped"),
    [
        ("50% of it", "50%25 of it"),
        ("a\nb\r\nc", "a%0Ab%0D%0Ac"),
        ("a: b, c", "a: b, c"),
        ("::error::", "::error::"),
        ("%0A", "%250A"),
    ],
)
def test_github_s_own_characters_are_escaped_in_a_message(message: str, escaped: str) -> None:
    text = render_github([Diagnostic("ZT1", "n", Severity.ERROR, message)])

    assert text == f"::error title=ZT1 n::{escaped}\n"


def test_github_s_own_characters_are_escaped_in_a_property() -> None:
    text = render_github([Diagnostic("ZT1", "n", Severity.INFO, "m", Place("a,b:c%\n.yaml", 1, 2))])

    assert text == "::notice file=a%2Cb%3Ac%25%0A.yaml,line=1,col=2,title=ZT1 n::m\n"


@pytest.mark.parametrize(
    ("line", "column", "width", "carets"),
    [
        ("abc: def", 6, 3, "     ^^^"),
        ("abc: def", 6, 99, "     ^^^"),
        ("abc:", 5, 1, "    ^"),
        ("abc:", 9, 4, "        ^"),
        ("abc", 1, 0, "^"),
        ("", 1, 1, "^"),
    ],
)
def test_carets_stay_on_their_line(line: str, column: int, width: int, carets: str) -> None:
    text = render_full([Diagnostic("ZT1", "n", Severity.ERROR, "m", Place("f", 1, column, None, line, width))])

    assert text.splitlines()[3] == f"    | {carets}"


def test_carets_stand_under_their_text_after_a_tab() -> None:
    place = Place("f", 1, 7, None, "seed:\t-5", 2)
    _, _, source, carets, *_ = render_full([Diagnostic("ZT1", "n", Severity.ERROR, "m", place)]).splitlines()

    assert carets.expandtabs().index("^") == source.expandtabs().index("-5")


def test_the_concise_format_is_one_line_whatever_the_message() -> None:
    assert render_concise([Diagnostic("ZT1", "n", Severity.ERROR, "no key `a\nb`")]).count("\n") == 1


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert "\033" not in render_full([Diagnostic("ZT1", "n", Severity.ERROR, "no key `\033[2J`")])


def test_a_very_long_line_is_cut_around_the_place() -> None:
    place = Place("f", 1, 5000, None, "x" * 10_000, 3)
    text = render_full([Diagnostic("ZT1", "n", Severity.ERROR, "m", place)])

    assert max(map(len, text.splitlines())) < 1000


@pytest.mark.parametrize(
    ("findings", "text"),
    [
        ([], "no findings"),
        ([ERROR], "1 error"),
        ([WARNING, ERROR, ERROR], "2 errors, 1 warning"),
        ([INFO, INFO, WARNING, WARNING], "2 warnings, 2 info"),
    ],
)
def test_the_summary_counts_by_severity(findings: list[Diagnostic], text: str) -> None:
    assert summary(findings) == text
