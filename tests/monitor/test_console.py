"""What a person sees on a terminal, and what a log file gets."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from zerotrain.monitor.console import Console
from zerotrain.monitor.sinks.console import ConsoleSink

ROW = {"kind": "train", "loss": 2.5, "lr": 1e-3, "grad_norm": 0.5, "tokens_per_second": 1234.0, "step_seconds": 2.0}


def shown(rows: list[dict[str, object]], total: int, terminal: bool) -> str:
    """Returns what the sink writes, byte for byte."""
    if not terminal:
        stream = io.StringIO()
        write(Console(stream), rows, total)
        return stream.getvalue()
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        write(Console(stream), rows, total)
    text = b"".join(pieces_of(ours)).decode().replace("\r\n", "\n")
    os.close(ours)
    return text


def pieces_of(terminal: int) -> Iterator[bytes]:
    """Yields what a terminal shows, until its other end is closed: one read may bring less than was written."""
    while True:
        try:
            yield os.read(terminal, 100_000)
        except OSError:  # how Linux says that nobody writes any more
            return


def write(console: Console, rows: list[dict[str, object]], total: int) -> None:
    sink = ConsoleSink(console, total)
    for row in rows:
        sink.write(row)
    sink.close()


def test_a_terminal_has_one_progress_line_that_is_rewritten():
    text = shown([{**ROW, "step": step} for step in (1, 2, 3)], total=10, terminal=True)

    assert text.count("\n") == 0
    assert text.count("\r\033[K") == 3
    assert "step  3/10  loss 2.5000  lr 1.00e-03  grad norm 0.500  1.23K tokens/s  14s left" in text


def test_a_line_to_keep_takes_the_place_of_the_progress_line():
    evaluation = {"kind": "eval", "step": 1, "metrics": {"loss": 2.25}}

    text = shown([{**ROW, "step": 1}, evaluation], total=10, terminal=True)

    assert text.endswith("\r\033[Kstep  1/10  validation loss 2.25\n")


def test_the_last_step_stays():
    assert shown([{**ROW, "step": 10}], total=10, terminal=True).endswith("left\n")


def test_a_log_has_plain_lines_and_not_one_for_every_step():
    text = shown([{**ROW, "step": step} for step in range(1, 11)], total=10, terminal=False)

    assert "\r" not in text
    assert "\033" not in text
    assert [line.split()[1] for line in text.splitlines()] == ["1/10", "10/10"]


def test_what_libraries_print_goes_to_the_log_and_what_is_said_to_the_terminal(tmp_path: Path):
    code = f"""
import os, sys
from pathlib import Path
from zerotrain.monitor.console import keep_terminal, redirect_output
console = keep_terminal(0)
redirect_output(Path({str(tmp_path / "rank.log")!r}))
print("from python")
os.system("echo from a library")
sys.stderr.write("from an error\\n")
console.say("for a person")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "for a person\n"
    assert done.stderr == ""
    assert sorted((tmp_path / "rank.log").read_text().splitlines()) == [
        "from a library",
        "from an error",
        "from python",
    ]


def test_other_ranks_say_nothing(capfd):
    from zerotrain.monitor.console import keep_terminal

    keep_terminal(1).say("hello")

    assert capfd.readouterr().out == ""


def test_training_goes_on_when_nobody_reads_any_more() -> None:
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w")
    console = Console(stream)
    console.say("read")
    os.close(reader)

    console.say("lost")
    console.say("lost too")

    with contextlib.suppress(BrokenPipeError):
        stream.close()
