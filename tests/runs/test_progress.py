"""A row of metrics as a line for a person."""

from __future__ import annotations

from typing import Any

import pytest

from zerotrain.runs.progress import evaluation_line, training_line

ROW: dict[str, Any] = {
    "step": 120,
    "loss": 3.41234,
    "lr": 2.1e-4,
    "grad_norm": 0.98765,
    "tokens_per_second": 48_100.0,
}


def test_a_training_line() -> None:
    assert (
        training_line(ROW, 200, 80.0)
        == "step 120/200  loss 3.4123  lr 2.10e-04  grad norm 0.988  48.1K tokens/s  1m 20s left"
    )


def test_the_step_is_as_wide_as_the_last_one_and_no_estimate_is_made_up() -> None:
    assert training_line({**ROW, "step": 7}, 2000, None).startswith("step    7/2000  loss")
    assert "left" not in training_line(ROW, 200, None)


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (float("nan"), "nan"), (float("inf"), "inf")])
def test_a_number_that_is_none_is_shown(value: float | None, text: str) -> None:
    assert f"loss {text}" in training_line({**ROW, "loss": value}, 200, None)
    assert f"grad norm {text}" in training_line({**ROW, "grad_norm": value}, 200, None)


def test_an_evaluation_line() -> None:
    row = {"step": 100, "metrics": {"loss": 3.5123, "perplexity": 33.518, "accuracy": None}}

    assert evaluation_line(row, 200) == "step 100/200  validation loss 3.512  perplexity 33.52  accuracy -"
