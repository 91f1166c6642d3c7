"""What `make parity` compares: every layout can be trained as it is written, and every axis is among them."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from zerotrain.check.runner import check_file
from zerotrain.hardware.surroundings import Surroundings

FOLDER = Path(__file__).parents[2] / "benchmarks"
TABLE = runpy.run_path(str(FOLDER / "parity.py"))
LAYOUTS = TABLE["layouts"]()


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_has_no_findings(name: str, tmp_path: Path) -> None:
    around = Surroundings(directory=tmp_path, cache=tmp_path)

    assert [found.message for found in check_file(TABLE["SPEC"], around, LAYOUTS[name]) if found.is_error] == []


@pytest.mark.parametrize(
    "axis", ["tp 2", "pp 2", "sp 2", "ep 2", "moe", "tp 2 x pp 2", "hpZ", "host", "recomputing", "tiled"]
)
def test_every_way_to_divide_is_among_them(axis: str) -> None:
    assert any(axis in name for name in LAYOUTS)
