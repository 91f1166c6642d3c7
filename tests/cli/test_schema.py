"""`zerotrain schema`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zerotrain.cli.main import main
from zerotrain.spec.schema import spec_schema


def test_the_schema_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0

    assert json.loads(capsys.readouterr().out) == spec_schema()


def test_the_schema_in_the_documentation_is_this_one(capsys: pytest.CaptureFixture[str]) -> None:
    main(["schema"])

    assert (Path(__file__).parents[2] / "docs" / "schema.json").read_text() == capsys.readouterr().out
