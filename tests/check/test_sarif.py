"""The SARIF output is valid, complete, and points at the same places as the other formats."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from zerotrain.check.registry import RULES, find_rule
from zerotrain.check.render import FORMATS
from zerotrain.check.sarif import render_sarif
from zerotrain.diagnostic import Diagnostic, Place, Severity
from zerotrain.version import __version__

SCHEMA = json.loads((Path(__file__).parents[1] / "golden" / "sarif.json").read_text(encoding="utf-8"))
LINE = "zero: {stage: 2, offload_param: {device: cpu}}"
ERROR = Diagnostic(
    "ZT101", "indivisible-global-batch", Severity.ERROR, "3 is odd", Place("a b.yaml", 2, 4, "batch"), "use 4"
)
WARNING = Diagnostic(
    "ZT301", "ignored-offload-param", Severity.WARNING, "it is", Place("x/y.yaml", 7, 8, None, LINE, 5)
)
INFO = Diagnostic("ZT040", "unused-ignore", Severity.INFO, "a hint", Place("/abs/é.json", 1, 1))
NOWHERE = Diagnostic("ZT802", "missing-packages", Severity.ERROR, "no `torch`")
WHOLE_FILE = Diagnostic("ZT001", "unreadable-file", Severity.ERROR, "cannot read it", Place("gone.yaml"))
OVERRIDE = Diagnostic("ZT007", "invalid-value", Severity.ERROR, "no", Place("command line", 1, 1, "seed", "seed=x", 4))
ALL = [ERROR, WARNING, INFO, NOWHERE, WHOLE_FILE, OVERRIDE, ERROR]


def run_of(findings: Sequence[Diagnostic]) -> Any:
    log = json.loads(render_sarif(findings))
    Draft202012Validator(SCHEMA).validate(log)
    return log["runs"][0]


def location_of(finding: Diagnostic) -> Any:
    (result,) = run_of([finding])["results"]
    return result["locations"]


def test_the_excerpt_of_the_schema_is_itself_valid() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_a_run_without_findings_is_valid_and_names_the_tool() -> None:
    run = run_of([])

    assert (run["tool"]["driver"]["name"], run["tool"]["driver"]["version"]) == ("zerotrain", __version__)
    assert (run["tool"]["driver"]["rules"], run["results"]) == ([], [])


def test_every_result_refers_to_its_rule_and_every_rule_is_there_once() -> None:
    run = run_of(ALL)
    rules = run["tool"]["driver"]["rules"]

    assert [rule["id"] for rule in rules] == sorted({finding.code for finding in ALL})
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == [finding.code for finding in ALL]
    assert [result["ruleId"] for result in run["results"]] == [finding.code for finding in ALL]


def test_a_rule_has_its_page() -> None:
    (rule,) = run_of([WARNING])["tool"]["driver"]["rules"]
    known = find_rule("ZT301")

    assert known is not None
    assert (rule["name"], rule["defaultConfiguration"]) == ("ignored-offload-param", {"level": "warning"})
    assert rule["shortDescription"]["text"] == known.page.summary
    assert all(part in rule["help"]["text"] for part in (known.page.why, known.page.wrong, known.page.right))


def test_every_rule_there_is_can_be_described() -> None:
    found = [Diagnostic(rule.code, rule.name, Severity.ERROR, "x") for rule in RULES]

    assert len(run_of(found)["tool"]["driver"]["rules"]) == len({rule.code for rule in RULES})


def test_a_finding_of_an_unknown_code_is_still_valid() -> None:
    (rule,) = run_of([Diagnostic("ZT000", "x-y", Severity.INFO, "z")])["tool"]["driver"]["rules"]

    assert rule == {"id": "ZT000", "name": "x-y", "defaultConfiguration": {"level": "note"}}


@pytest.mark.parametrize(("finding", "level"), [(ERROR, "error"), (WARNING, "warning"), (INFO, "note")])
def test_the_level_follows_from_the_severity(finding: Diagnostic, level: str) -> None:
    assert run_of([finding])["results"][0]["level"] == level


def test_the_message_holds_the_way_out() -> None:
    assert run_of([ERROR])["results"][0]["message"] == {"text": "3 is odd\nhelp: use 4"}


def test_the_region_is_what_the_carets_stand_under() -> None:
    (location,) = location_of(WARNING)
    physical = location["physicalLocation"]

    assert physical["artifactLocation"] == {"uri": "x/y.yaml", "uriBaseId": "%SRCROOT%"}
    assert physical["region"] == {"startLine": 7, "startColumn": 8, "endColumn": 13, "snippet": {"text": "stage"}}
    assert physical["contextRegion"] == {"startLine": 7, "snippet": {"text": LINE}}


@pytest.mark.parametrize(
    ("finding", "uri"),
    [(ERROR, "a%20b.yaml"), (INFO, "file:///abs/%C3%A9.json"), (WHOLE_FILE, "gone.yaml")],
)
def test_a_path_is_a_uri(finding: Diagnostic, uri: str) -> None:
    assert location_of(finding)[0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_a_finding_about_a_whole_file_has_no_region() -> None:
    assert "region" not in location_of(WHOLE_FILE)[0]["physicalLocation"]


def test_a_finding_without_a_file_has_only_its_key() -> None:
    assert location_of(NOWHERE) == []
    assert location_of(OVERRIDE) == [{"logicalLocations": [{"fullyQualifiedName": "seed"}]}]


def test_the_command_line_offers_it() -> None:
    assert FORMATS["sarif"](ALL, True) == render_sarif(ALL)
