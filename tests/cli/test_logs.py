"""`zerotrain logs`: what a rank says, at its end and while it says it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from zerotrain.cli.main import main
from zerotrain.runs.attempts import Attempt, end_attempt, write_attempt
from zerotrain.runs.layout import RunDirectory


@pytest.fixture
def run(write, zerotrain, tmp_path) -> RunDirectory:
    zerotrain("train", write({"horizon": "1 steps", "launch": {"type": "local"}, "hardware.gpus_per_node": 1}))
    made = RunDirectory(tmp_path / "runs" / "tiny")
    made.rank_log(1, 0).write_text("".join(f"line {number}\n" for number in range(100)))
    return made


def test_the_end_of_a_log_and_what_is_not_there(run, capsys):
    def said(*words: str) -> tuple[int, list[str], str]:
        code = main(["logs", str(run.root), *words])
        shown = capsys.readouterr()
        return code, shown.out.splitlines(), shown.err

    assert said() == (0, [f"line {number}" for number in range(60, 100)], "")
    assert said("--lines", "2")[1] == ["line 98", "line 99"]
    assert len(said("--lines", "0")[1]) == 100
    assert said("--launcher")[0] == 0
    code, _, refused = said("--rank", "7")
    assert code == 1
    assert "error[ZT716] no-log" in refused
    assert "attempt-1/rank-0.log" in refused


def test_a_log_is_followed_until_its_attempt_ends(run):
    run.attempt(2).mkdir()
    write_attempt(run, Attempt(2, 1.0, 1))
    command = [sys.executable, "-m", "zerotrain", "logs", str(run.root), "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        run.rank_log(2, 0).write_text("one\n")
        assert following.stdout.readline() == "one\n"
        with run.rank_log(2, 0).open("a") as log:
            log.write("two\n")
        assert following.stdout.readline() == "two\n"
        end_attempt(run, 2, "finished")
        assert following.wait(timeout=30) == 0
