"""`zerotrain compile`: the JSON on standard output, and nothing else there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from zerotrain.cli.main import main

Write = Callable[..., Path]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def in_the_directory_of_the_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_json_is_for_a_script_around_deepspeed(write: Write, capsys: Capture) -> None:
    write({"schedule": {"type": "cosine", "warmup": "2 steps"}})

    assert main(["compile", "spec.yaml"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out)["scheduler"]["type"] == "WarmupCosineLR"


@pytest.mark.parametrize(
    ("target", "has"),
    [
        ("deepspeed", {"optimizer", "scheduler", "tensorboard"}),
        ("zerotrain", {"optimizer"}),
        ("hf", {"optimizer", "scheduler"}),
        ("accelerate", set()),
    ],
)
def test_every_reader_gets_its_own(write: Write, capsys: Capture, target: str, has: set[str]) -> None:
    write({"schedule": {"type": "cosine"}, "monitor": {"tensorboard": True}})
    main(["compile", "spec.yaml", "--for", target])

    assert set(json.loads(capsys.readouterr().out)) & {"optimizer", "scheduler", "tensorboard"} == has


def test_warnings_go_to_standard_error(write: Write, capsys: Capture) -> None:
    write({"optimizer.lr": 3.0})

    assert main(["compile", "spec.yaml"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["optimizer"]["params"]["lr"] == 3.0
    assert "warning[ZT105]" in err


def test_with_an_error_there_is_no_json(write: Write, capsys: Capture) -> None:
    write({"batch.global_batch_size": 3})

    assert main(["compile", "spec.yaml", "-o", "out.json"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "error[ZT101]" in err
    assert not Path("out.json").exists()
    assert main(["compile", "gone.yaml"]) == 2


def test_a_file_has_the_same_text(write: Write, capsys: Capture) -> None:
    write()
    main(["compile", "spec.yaml"])
    shown = capsys.readouterr().out

    assert main(["compile", "spec.yaml", "-o", "out.json"]) == 0
    assert Path("out.json").read_text() == shown
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("target", ["gone/out.json", "."])
def test_a_file_that_cannot_be_written_ends_with_2(write: Write, capsys: Capture, target: str) -> None:
    write()

    assert main(["compile", "spec.yaml", "-o", target]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"cannot write `{target}`" in err


def test_overrides_and_a_world_size_count(write: Write, capsys: Capture) -> None:
    write()
    main(["compile", "spec.yaml", "zero.stage=3", "--world-size", "1"])
    config = json.loads(capsys.readouterr().out)

    assert (config["zero_optimization"]["stage"], config["gradient_accumulation_steps"]) == (3, 2)


def test_what_check_passes_is_compiled(write: Write) -> None:
    write({"schedule": {"type": "cosine"}, "deepspeed": {"scheduler": {"type": "OneCycle", "params": {}}}})

    assert main(["check", "spec.yaml"]) == main(["compile", "spec.yaml"])


def test_a_refusal_has_its_place_in_the_file(write: Write, capsys: Capture) -> None:
    write({"schedule": {"type": "cosine"}, "deepspeed": {"scheduler": {"type": "OneCycle", "params": {}}}})
    main(["compile", "spec.yaml"])

    assert "spec.yaml:" in capsys.readouterr().err
