"""Each start of the workers is recorded, and how it ended."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from zerotrain.diagnostic import Diagnostic, Place, Severity
from zerotrain.runs.attempts import (
    Attempt,
    Failure,
    attempts,
    end_attempt,
    failures,
    next_attempt,
    read_attempt,
    write_attempt,
    write_failure,
)
from zerotrain.runs.layout import RunDirectory

FINDING = Diagnostic("ZT803", "engine-differs", Severity.ERROR, "it differs", Place("f", 1, 2, "optimizer.lr"), "help")


def test_attempts_are_numbered_from_one(run: RunDirectory) -> None:
    assert [next_attempt(run) for _ in range(3)] == [1, 2, 3]
    assert run.attempt(3).is_dir()


def test_a_number_is_never_given_again(run: RunDirectory) -> None:
    for name in ("attempt-9", "attempt-x", "attempt-", "other"):
        (run.logs / name).mkdir()

    assert next_attempt(run) == 10
    assert next_attempt(run) == 11


def test_attempts_come_in_order_of_their_number(run: RunDirectory) -> None:
    for _ in range(11):
        number = next_attempt(run)
        write_attempt(run, Attempt(number, started=float(number), world_size=2))

    assert [attempt.number for attempt in attempts(run)] == list(range(1, 12))
    assert attempts(RunDirectory(run.root / "nothing")) == []


def test_what_was_written_reads_back(run: RunDirectory) -> None:
    written = Attempt(next_attempt(run), 1.5, 8, "step-3", "failed", 2.5, 7, "rank 3: out of memory")
    write_attempt(run, written)

    assert read_attempt(run, 1) == written
    assert json.loads((run.attempt(1) / "attempt.json").read_text())["resumed_from"] == "step-3"


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "null", "{}", '{"number": 1}', '{"number": 1, "more": 2}'])
def test_a_damaged_record_is_left_out(run: RunDirectory, text: str) -> None:
    write_attempt(run, Attempt(next_attempt(run), 1.0, 2))
    (run.attempt(next_attempt(run)) / "attempt.json").write_text(text)
    next_attempt(run)

    assert [attempt.number for attempt in attempts(run)] == [1]
    assert read_attempt(run, 2) is None


def test_ending_an_attempt_keeps_what_was_known(run: RunDirectory) -> None:
    write_attempt(run, Attempt(next_attempt(run), 1.0, 2, "step-5"))
    before = time.time()
    end_attempt(run, 1, "finished", last_step=9)
    ended = read_attempt(run, 1)

    assert ended is not None
    assert (ended.outcome, ended.last_step, ended.resumed_from, ended.started) == ("finished", 9, "step-5", 1.0)
    assert ended.ended is not None
    assert before <= ended.ended <= time.time()


def test_ending_what_never_began_does_nothing(run: RunDirectory) -> None:
    end_attempt(run, 5, "failed", reason="x")

    assert attempts(run) == []


def test_failures_come_in_the_order_they_happened(run: RunDirectory) -> None:
    next_attempt(run)
    written = [Failure(rank, moment, "why", [FINDING], f"trace of {rank}") for rank, moment in ((0, 3.0), (11, 1.0))]
    for failure in written:
        write_failure(run, 1, failure)

    assert failures(run, 1) == [written[1], written[0]]


def test_a_failure_nobody_knows_has_no_findings(run: RunDirectory) -> None:
    next_attempt(run)
    write_failure(run, 1, Failure(0, 1.0, "KeyError: 5", [], "Traceback …"))

    assert failures(run, 1) == [Failure(0, 1.0, "KeyError: 5", [], "Traceback …")]
    assert failures(run, 2) == []


def test_two_that_start_at_once_get_two_numbers(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    # The other one makes its directory between our look and our own.
    look = Path.glob

    def late(self: Path, pattern: str) -> list[Path]:
        found = list(look(self, pattern))
        (run.logs / "attempt-1").mkdir(exist_ok=True)
        return found

    monkeypatch.setattr(Path, "glob", late)

    assert next_attempt(run) == 2


def test_a_directory_with_another_digit_is_none_of_ours(run: RunDirectory) -> None:
    (run.logs / "attempt-²").mkdir()

    assert next_attempt(run) == 1
