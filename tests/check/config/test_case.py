"""A rule sees what is in force, under whatever name it is written."""

from __future__ import annotations

from typing import Any

import pytest
from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

from zerotrain.check.config.case import ConfigCase

Z = "zero_optimization"
NAMES = ("param_persistence_threshold", "stage3_param_persistence_threshold")


@pytest.mark.parametrize("asked", NAMES)
@pytest.mark.parametrize("written", NAMES)
def test_a_value_is_found_under_each_of_its_names(written: str, asked: str) -> None:
    case = ConfigCase({Z: {written: 7}})

    assert case.value(f"{Z}.{asked}") == DeepSpeedZeroConfig(**{written: 7}).param_persistence_threshold == 7
    assert case.spelled(f"{Z}.{asked}") == f"{Z}.{written}"


def test_a_value_in_a_section_under_its_other_name_is_found() -> None:
    case = ConfigCase({"tensor_parallel": {"tensor_parallel": {"tp_size": 4}}})

    assert case.value("tensor_parallel.tp.tp_size") == 4
    assert case.spelled("tensor_parallel.tp.tp_size") == "tensor_parallel.tensor_parallel.tp_size"


@pytest.mark.parametrize("asked", NAMES)
def test_what_is_dropped_is_not_in_force_but_its_other_name_is(asked: str) -> None:
    assert (
        ConfigCase({Z: {NAMES[1]: "auto"}}).value(f"{Z}.{asked}") == DeepSpeedZeroConfig().param_persistence_threshold
    )
    assert ConfigCase({Z: {NAMES[0]: "auto", NAMES[1]: 7}}).value(f"{Z}.{asked}") == 7


@pytest.mark.parametrize("config", [{}, {Z: None}, {Z: [1]}, {Z: "stage"}])
def test_a_key_that_is_not_written_keeps_its_name_and_has_its_default(config: dict[str, Any]) -> None:
    case = ConfigCase(config)

    assert (case.spelled(f"{Z}.overlap_comm"), case.value("gradient_predivide_factor")) == (f"{Z}.overlap_comm", 1.0)
