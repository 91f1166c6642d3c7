"""One command, one verb, three exit codes, and never a traceback for a mistake in the input."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from zerotrain.cli.main import VERBS, main
from zerotrain.version import __version__

Write = Callable[..., Path]


def usage(words: list[str]) -> int:
    """Returns the exit code of a command that argparse ends."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


def test_every_verb_has_a_help_that_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    for verb, help in VERBS.items():
        assert usage([verb, "--help"]) == 0
        assert help in " ".join(capsys.readouterr().out.split())
    assert usage(["--help"]) == 0
    assert all(verb in capsys.readouterr().out for verb in ())


def test_the_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    usage(["--help"])
    shown = " ".join(capsys.readouterr().out.split())

    assert all(f"{verb} {help}" in shown for verb, help in VERBS.items())


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert usage(["--version"]) == 0
    assert capsys.readouterr().out == f"zerotrain {__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["chekc"],
        ["--", "check"],
        ["-x"],
        ["check"],
        ["check", "--format", "xml", "a.yaml"],
        ["check", "--wrong", "a.yaml"],
        ["compile"],
        ["compile", "a.yaml", "--for", "nobody"],
        ["explain"],
        ["schema", "a"],
        ["schema", "a=b"],
        ["status"],
        ["status", "a", "b"],
        ["export", "a"],
        ["train"],
        ["train", "a.yaml", "--on", "nowhere"],
        ["train", "a.yaml", "--fresh", "--continue"],
        ["resume"],
        ["check", "a.yaml", "--world-size", "0"],
        ["check", "a.yaml", "--world-size", "-1"],
        ["check", "a.yaml", "--world-size", "two"],
        ["check", "a.yaml", "--world-size", "1.5"],
    ],
)
def test_a_command_that_means_nothing_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert usage(words) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert "zerotrain" in err
    assert "error: " in err


def test_a_number_of_ranks_that_is_none_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    usage(["check", "a.yaml", "--world-size", "two"])

    assert "_positive" not in capsys.readouterr().err


def test_overrides_may_stand_before_and_after_options(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    spec = str(write())
    commands = (
        ["check", spec, "batch.micro_batch_size=1", "--world-size", "4", "batch.global_batch_size=8"],
        ["check", "--world-size", "4", spec, "batch.micro_batch_size=1", "batch.global_batch_size=8"],
        ["compile", spec, "--world-size", "4", "batch.micro_batch_size=1", "batch.global_batch_size=8"],
        ["compile", spec, "batch.micro_batch_size=1", "--for", "hf", "batch.global_batch_size=8", "--world-size", "4"],
    )
    for words in commands:
        main([*words, "hardware.gpus_per_node=4"])
        out, err = capsys.readouterr()
        assert '"gradient_accumulation_steps": 2' in out or "no findings" in out, err


def test_refused_findings_go_to_standard_error_and_end_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", str(tmp_path)]) == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error[ZT702] not-a-run\n  = `")


def test_the_module_can_be_run(zerotrain: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = zerotrain("--version")

    assert (done.returncode, done.stdout, done.stderr) == (0, f"zerotrain {__version__}\n", "")


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    words = f"{sys.executable} -m zerotrain schema"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {words} | head -n 1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


@pytest.mark.parametrize("encoding", ["ascii", "utf-8:strict"])
def test_a_terminal_that_cannot_show_every_character_is_no_obstacle(write: Write, encoding: str) -> None:
    # Messages have an ellipsis, and file names may be any bytes.
    spec = write({"hardware.num_nodes": 2})
    spec = spec.rename(os.fsdecode(bytes(spec.parent) + b"/\xff.yaml"))
    done = subprocess.run(
        [sys.executable, "-m", "zerotrain", "check", spec],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )

    assert b"Traceback" not in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize(
    "words",
    [
        ["check", "a" * 300 + "/x.yaml"],
        ["check", "spec.yaml", f"export.sample.prompts=[{'a' * 400}]"],
        ["check", "spec.yaml", "model.config.²=1"],
        ["check", "spec.yaml", "horizon=1e400 steps"],
        ["check", "spec.yaml", "deepspeed=5"],
        ["check", "spec.yaml", "optimizer.lr=._"],
        ["check", "spec.yaml", f"seed={'9' * 5000}"],
        ["compile", "spec.yaml", f"deepspeed={'[' * 300}{']' * 300}"],
    ],
    ids=lambda words: words[-1][:30],
)
def test_no_mistake_of_a_user_ends_in_a_traceback(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    write()
    monkeypatch.chdir(tmp_path)

    assert main(words) in (0, 1, 2)
