"""Every example is clean, and compiles to the file that stands ready in `ds_configs/`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from zerotrain.check.case import Case
from zerotrain.check.runner import check_file
from zerotrain.compile.emit import compile_spec
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.spec.load import load_spec
from zerotrain.spec.tree import parse

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
CONFIGS = sorted((ROOT / "ds_configs").iterdir())
AROUND = Surroundings(directory=ROOT, cache=ROOT / "nowhere")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_no_findings(example: Path) -> None:
    assert check_file(example, AROUND) == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_compiles_to_its_file(example: Path) -> None:
    compiled = compile_spec(Case(load_spec(example), AROUND).resolved, "deepspeed").as_json()

    assert compiled == (ROOT / "ds_configs" / f"{example.stem}.json").read_text(encoding="utf-8"), "run `make generate`"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_the_same_to_other_yaml_readers(example: Path) -> None:
    """Numbers are written so that YAML 1.1 reads them as numbers too."""
    text = example.read_text(encoding="utf-8")

    assert parse(text, str(example)).data == yaml.safe_load(text)


def test_there_is_a_file_for_every_example_and_no_other() -> None:
    assert [path.name for path in CONFIGS] == [f"{example.stem}.json" for example in EXAMPLES]
    assert EXAMPLES


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_file_has_no_auto_and_no_null(config: Path) -> None:
    text = config.read_text(encoding="utf-8")

    assert isinstance(json.loads(text), dict)
    assert '"auto"' not in text
    assert "null" not in text
