"""The lines of the metrics, whatever a crash has done to them."""

from __future__ import annotations

import json

import pytest

from zerotrain.runs.history import curve, rows
from zerotrain.runs.layout import RunDirectory


def write(run: RunDirectory, *lines: object) -> None:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    run.metrics.write_text("\n".join(texts) + "\n", encoding="utf-8")


TRAIN = [{"kind": "train", "step": step, "attempt": 1, "loss": 5.0 - step} for step in (1, 2, 3)]
EVAL = {"kind": "eval", "step": 2, "metrics": {"loss": 4.5}}


def test_lines_come_in_the_order_they_were_written(run: RunDirectory) -> None:
    write(run, TRAIN[0], TRAIN[1], EVAL, TRAIN[2])

    assert list(rows(run)) == [TRAIN[0], TRAIN[1], EVAL, TRAIN[2]]
    assert list(rows(run, "train")) == TRAIN
    assert list(rows(run, "eval")) == [EVAL]


def test_of_a_step_trained_twice_the_later_line_counts(run: RunDirectory) -> None:
    again = {"kind": "train", "step": 2, "attempt": 2, "loss": 2.5}
    write(run, *TRAIN, again)

    assert curve(run) == {1: TRAIN[0], 2: again, 3: TRAIN[2]}


@pytest.mark.parametrize("torn", ['{"kind": "train", "st', "", "   ", "\0\0\0\0", '{"kind": "train"}{"kind"'])
def test_a_torn_line_is_left_out(run: RunDirectory, torn: str) -> None:
    write(run, TRAIN[0], torn, TRAIN[1])
    with run.metrics.open("a") as file:
        file.write('{"kind": "train", "step": 9, "lo')

    assert list(rows(run, "train")) == TRAIN[:2]


def test_a_loss_that_is_no_number_is_read(run: RunDirectory) -> None:
    write(run, '{"kind": "train", "step": 1, "loss": NaN, "grad_norm": null}')

    assert curve(run)[1]["grad_norm"] is None


def test_a_run_that_has_not_begun_has_no_lines(run: RunDirectory) -> None:
    assert list(rows(run)) == []
    assert curve(run) == {}


@pytest.mark.parametrize("line", ["5", "[]", "null", '"text"'])
def test_a_line_of_another_kind_is_left_out(run: RunDirectory, line: str) -> None:
    write(run, TRAIN[0], line)

    assert list(rows(run, "train")) == TRAIN[:1]


def test_a_damaged_byte_costs_only_its_line(run: RunDirectory) -> None:
    run.metrics.write_bytes(b'{"kind": "train", "step": 1}\n{"kind": "\xff"}\n{"kind": "train", "step": 2}\n')

    assert [row["step"] for row in rows(run, "train")] == [1, 2]
