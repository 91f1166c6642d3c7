"""`zerotrain doctor`, on this machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zerotrain.cli.main import main

Write = Callable[..., Path]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def in_the_directory_of_the_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def codes(text: str) -> list[str]:
    return [finding["code"] for finding in json.loads(text)["findings"]]


def test_a_machine_that_passes_this_suite_is_ready(write: Write, tmp_path: Path, zerotrain: Run) -> None:
    write()
    before = sorted(tmp_path.iterdir())
    done = zerotrain("doctor", "spec.yaml")

    assert (done.returncode, done.stderr) == (0, "")
    assert "\nok    ops " in done.stdout
    assert done.stdout.splitlines()[-1].startswith("spec.yaml: ready")
    assert sorted(tmp_path.iterdir()) == before


def test_without_a_spec_it_tells_of_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)

    assert told["facts"]["torch"]["ops"] == []
    assert told["facts"]["storage"]["memory"]["limit"] > 0


def test_a_run_for_gpus_that_are_not_here(write: Write, zerotrain: Run) -> None:
    write({"hardware": {"gpu": "H100-SXM", "gpus_per_node": 2}})
    done = zerotrain("doctor", "spec.yaml", "--format", "json", environment={"CUDA_VISIBLE_DEVICES": ""})

    assert done.returncode == 1
    assert {"ZT855", "ZT857"} & set(codes(done.stdout))


def test_the_lock_of_a_killed_build_is_named_with_its_file(write: Write, tmp_path: Path, zerotrain: Run) -> None:
    write()
    lock = tmp_path / "ops" / "fused_adam" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    done = zerotrain("doctor", "spec.yaml", environment={"TORCH_EXTENSIONS_DIR": str(tmp_path / "ops")})

    assert done.returncode == 0
    assert "warning[ZT854] left-lock" in done.stdout
    assert f"rm {lock}" in done.stdout
    assert "to be compiled at the first start" in done.stdout


def test_a_hostfile_is_shown_where_it_is_wrong(write: Write, zerotrain: Run) -> None:
    write({"launch": {"type": "deepspeed", "hostfile": "hosts"}})
    Path("hosts").write_text("# two\nworker-1: 2\n")
    done = zerotrain("doctor", "spec.yaml")

    assert done.returncode == 1
    assert "hosts:2:1: error[ZT871] bad-hostfile" in done.stdout
    assert "2 | worker-1: 2" in done.stdout


@pytest.mark.parametrize("format", ["full", "concise", "json"])
def test_a_spec_with_errors_is_told_first(write: Write, capsys: pytest.CaptureFixture[str], format: str) -> None:
    write({"optimizer.lr": -1})

    assert main(["doctor", "spec.yaml", "--format", format]) == 1
    assert "ZT007" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["gone.yaml"], ["seed=1"], ["spec.yaml", "other.yaml"]])
def test_what_cannot_be_looked_at_ends_with_2(write: Write, words: list[Any]) -> None:
    write()

    assert main(["doctor", *words]) == 2


def test_overrides_and_ranks_count(write: Write, zerotrain: Run) -> None:
    write()
    done = zerotrain("doctor", "spec.yaml", "batch.global_batch_size=8", "--world-size", "4")

    assert done.returncode == 0
    assert "264MiB needed" in done.stdout
