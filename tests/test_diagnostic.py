"""A finding keeps its parts, and its JSON is the contract's."""

from __future__ import annotations

import json

import pytest

from zerotrain.diagnostic import Diagnostic, Fix, Place, Severity, error

FINDING = Diagnostic(
    "ZT101",
    "indivisible-global-batch",
    Severity.ERROR,
    "100 is not a multiple of 64",
    Place("run.yaml", 12, 3, "batch.global_batch_size", "  global_batch_size: 100", 3),
    "use 64 or 128",
    Fix("use 128", "batch.global_batch_size", 128),
)


def test_the_json_of_a_finding_has_the_keys_of_the_contract_in_their_order() -> None:
    assert list(FINDING.as_json()) == [
        "code",
        "name",
        "severity",
        "message",
        "file",
        "line",
        "column",
        "key",
        "help",
        "fix",
    ]


def test_the_json_of_a_finding_is_plain_values() -> None:
    assert json.loads(json.dumps(FINDING.as_json())) == {
        "code": "ZT101",
        "name": "indivisible-global-batch",
        "severity": "error",
        "message": "100 is not a multiple of 64",
        "file": "run.yaml",
        "line": 12,
        "column": 3,
        "key": "batch.global_batch_size",
        "help": "use 64 or 128",
        "fix": {"title": "use 128", "key": "batch.global_batch_size", "value": 128, "renames": False},
    }


def test_a_finding_without_place_help_or_fix_has_nulls() -> None:
    written = error("ZT802", "missing-packages", "training needs `torch`").as_json()

    assert written["severity"] == "error"
    assert all(written[key] is None for key in ("file", "line", "column", "key", "help", "fix"))


def test_a_finding_can_be_put_at_another_place_without_changing_the_first() -> None:
    moved = FINDING.at(Place("other.yaml", 1, 1))

    assert moved.place.file == "other.yaml"
    assert FINDING.place.file == "run.yaml"
    assert moved.at(FINDING.place) == FINDING


@pytest.mark.parametrize(("severity", "text"), [(s, s.value) for s in Severity])
def test_a_severity_prints_as_its_word(severity: Severity, text: str) -> None:
    assert f"{severity}" == text
    assert text in ("error", "warning", "info")
