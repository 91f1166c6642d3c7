"""Ten thousand GPUs: the examples are what they say, and no answer costs more than for a few ranks."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from zerotrain.check.case import Case
from zerotrain.check.runner import check_reading
from zerotrain.compile.emit import compile_spec
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.spec.load import load_spec, read_spec

EXAMPLES = Path(__file__).parents[2] / "examples"
AROUND = Surroundings(directory=EXAMPLES, cache=EXAMPLES / "nowhere")

SIZES = {
    "llama_405b_16k_gpus": (16384, 128, 405e9, 405e9),
    "moe_1t_10k_gpus": (10240, 10240, 1.03e12, 32e9),
}
"""Ranks, data-parallel ranks, parameters and those that work on a token, as the comments in the examples say."""

WIDE = {
    "llama_405b_16k_gpus": (["batch.micro_batch_size=1", "batch.global_batch_size=2048"], 128, 16384),
    "moe_1t_10k_gpus": (["parallel={ep: 64}", "batch.global_batch_size=16384"], 64, 16384),
}
"""What is changed, and a small and a large number of ranks that both hold the layout."""


@pytest.mark.parametrize("name", SIZES)
def test_an_example_has_the_sizes_it_tells_of(name: str) -> None:
    case = Case(load_spec(EXAMPLES / f"{name}.yaml"), AROUND)
    ranks, dp, parameters, active = SIZES[name]

    assert (case.topology.world_size, case.topology.dp) == (ranks, dp)
    assert case.shape is not None
    assert case.shape.parameters == pytest.approx(parameters, rel=0.01)
    assert case.shape.active_parameters == pytest.approx(active, rel=0.05)


@pytest.mark.parametrize("name", WIDE)
def test_a_check_makes_as_many_calls_for_ten_thousand_ranks_as_for_a_hundred(name: str) -> None:
    overrides, few, many = WIDE[name]
    answered(name, overrides, few)

    assert calls(name, overrides, many) <= 1.02 * calls(name, overrides, few)


@pytest.mark.parametrize("world_size", [2, 16384])
def test_all_axes_at_once_are_answered_with_a_finding(world_size: int) -> None:
    reading = read_spec(EXAMPLES / "moe_1t_10k_gpus.yaml", ["parallel={tp: 8, pp: 16, ep: 64}"])

    found = check_reading(reading, AROUND, world_size)

    assert {finding.place.key for finding in found} & {"parallel", "parallel.tp", "parallel.pp", "parallel.ep"}


def calls(name: str, overrides: list[str], world_size: int) -> int:
    """Returns how many Python functions a check and a compilation call."""
    counted = 0

    def count(_: FrameType, event: str, __: Any) -> None:
        nonlocal counted
        counted += event == "call"

    sys.setprofile(count)
    try:
        answered(name, overrides, world_size)
    finally:
        sys.setprofile(None)
    return counted


def answered(name: str, overrides: list[str], world_size: int) -> None:
    """Checks an example for a number of ranks, and compiles it."""
    reading = read_spec(EXAMPLES / f"{name}.yaml", overrides)
    assert [finding.message for finding in check_reading(reading, AROUND, world_size)] == []
    assert reading.spec is not None
    compile_spec(Case(reading.spec, AROUND, world_size).resolved, "deepspeed")
