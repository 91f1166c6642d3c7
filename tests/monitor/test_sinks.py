"""Where rows of metrics go."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from zerotrain.monitor.sinks.base import ManySinks, NullSink
from zerotrain.monitor.sinks.jsonl import JsonlSink
from zerotrain.monitor.sinks.table import open_sinks
from zerotrain.monitor.sinks.tensorboard import TensorBoardSink
from zerotrain.runs.history import rows
from zerotrain.runs.layout import RunDirectory
from zerotrain.spec.run import MonitorSpec

TRAIN = {"kind": "train", "step": 1, "attempt": 1, "loss": 2.5, "lr": 1e-3, "grad_norm": None, "time": 1e9}
EVAL = {"kind": "eval", "step": 1, "attempt": 1, "metrics": {"loss": 2.0}, "time": 1e9}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path)


def test_every_row_is_a_line_that_reads_back(run):
    sink = JsonlSink(run.metrics)

    sink.write(TRAIN)
    sink.write(EVAL)

    assert list(rows(run)) == [TRAIN, EVAL], "each is there before the sink is closed"
    sink.close()


def test_numbers_that_json_does_not_know_become_null(run):
    sink = JsonlSink(run.metrics)

    sink.write({"kind": "train", "loss": math.nan, "metrics": {"loss": math.inf}})
    sink.close()

    line = run.metrics.read_text()
    assert "NaN" not in line
    assert "Infinity" not in line
    assert json.loads(line) == {"kind": "train", "loss": None, "metrics": {"loss": None}}


def test_a_line_that_a_crash_cut_short_does_not_spoil_the_next(run):
    run.metrics.write_text(json.dumps(TRAIN) + '\n{"kind": "tra')

    sink = JsonlSink(run.metrics)
    sink.write(EVAL)
    sink.close()

    assert list(rows(run)) == [TRAIN, EVAL]


def curves(directory: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(directory))
    events.Reload()
    return {
        tag: [(event.step, round(event.value, 4)) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }


def test_tensorboard_has_a_curve_for_every_number(run):
    sink = TensorBoardSink(run.tensorboard, first_step=1)

    sink.write(TRAIN)
    sink.write(EVAL)
    sink.close()

    assert curves(run.tensorboard) == {"train/loss": [(1, 2.5)], "train/lr": [(1, 0.001)], "eval/loss": [(1, 2.0)]}


def test_tensorboard_forgets_the_steps_that_a_resume_makes_again(run):
    for first_step, loss in ((1, 2.5), (2, 1.5)):
        sink = TensorBoardSink(run.tensorboard, first_step)
        for step in range(first_step, 4):
            sink.write({**TRAIN, "step": step, "loss": loss})
        sink.close()

    assert curves(run.tensorboard)["train/loss"] == [(1, 2.5), (2, 1.5), (3, 1.5)]


def test_only_the_first_rank_writes(run):
    assert isinstance(open_sinks(run, MonitorSpec(tensorboard=True), 1, 1), NullSink)
    assert not run.tensorboard.exists()


def test_the_first_rank_writes_what_the_spec_asks_for(run):
    sink = open_sinks(run, MonitorSpec(tensorboard=True), 0, 1)

    sink.write(TRAIN)
    sink.close()

    assert isinstance(sink, ManySinks)
    assert len(list(rows(run))) == 1
    assert curves(run.tensorboard)["train/loss"] == [(1, 2.5)]


def test_without_being_asked_there_is_no_tensorboard(run):
    open_sinks(run, MonitorSpec(), 0, 1).close()

    assert not run.tensorboard.exists()
