"""Two curves, step by step."""

from __future__ import annotations

from math import inf, nan

import pytest

from zerotrain.runs.parity import compared, largest


def test_only_steps_and_measures_that_both_have_are_compared() -> None:
    plain = {1: {"loss": 2.0, "grad_norm": None}, 2: {"loss": 1.0, "grad_norm": 4.0}, 3: {"loss": 1.0}}
    other = {1: {"loss": 2.0, "grad_norm": 1.0}, 2: {"loss": 1.1, "grad_norm": 3.0}}
    steps = compared(plain, other)

    assert [step.number for step in steps] == [1, 2]
    assert [sorted(step.plain) for step in steps] == [["loss"], ["grad_norm", "loss"]]
    assert largest(steps, "loss") == pytest.approx(0.1)
    assert largest(steps, "grad_norm") == 0.25


@pytest.mark.parametrize(("plain", "other", "expected"), [(0.0, 0.5, 0.5), (1.0, nan, inf), (inf, 1.0, inf)])
def test_what_is_no_number_is_never_the_same(plain: float, other: float, expected: float) -> None:
    assert largest(compared({1: {"loss": plain}}, {1: {"loss": other}}), "loss") == expected


def test_nothing_to_compare_differs_by_nothing() -> None:
    assert largest([], "loss") == 0.0
