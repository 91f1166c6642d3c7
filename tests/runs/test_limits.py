"""A run ends when its time is used up, and goes on when it gets more."""

from __future__ import annotations

import pytest

from zerotrain.runs.attempts import Attempt
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.limits import hours_of, reason_to_end
from zerotrain.spec.run import LimitsSpec


def test_hours_are_those_of_all_attempts_and_gpu_hours_those_of_their_ranks(tmp_path):
    run = RunDirectory(tmp_path)
    run.metrics.write_text('{"kind": "train", "attempt": 2, "time": 10800}\n')
    tried = [
        Attempt(1, 0.0, 4, outcome="failed", ended=3600.0),
        Attempt(2, 7200.0, 2),  # killed with all that could have recorded it; its last row is an hour old then
        Attempt(3, 20000.0, 8),
    ]

    hours, gpu_hours = hours_of(run, tried, now=20000.0 + 1800)

    assert hours == pytest.approx(1 + 1 + 0.5)
    assert gpu_hours == pytest.approx(4 + 2 + 4)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (LimitsSpec(), None),
        (LimitsSpec(hours=2.0, gpu_hours=17.0), None),
        (LimitsSpec(hours=1.5), "`limits.hours` of 1.5 are used up"),
        (LimitsSpec(gpu_hours=16), "`limits.gpu_hours` of 16 are used up"),
    ],
)
def test_a_limit_that_is_reached_is_the_reason(limits, reason):
    assert reason_to_end(limits, 1.5, 16.0) == reason
