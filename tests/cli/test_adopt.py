"""`zerotrain adopt`: a draft on standard output or in a new file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from zerotrain.cli.main import main

Capture = pytest.CaptureFixture[str]
CONFIG = """\
{ // by hand
  "train_batch_size": 8,
  "bf16": {"enabled": true},
  "optimizer": {"type": "AdamW", "params": {"lr": 1e-4}},
  "zero_optimization": {"stage": 2}
}
"""


@pytest.fixture(autouse=True)
def in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my ds.json").write_text(CONFIG)


def test_the_draft_is_a_spec_that_can_be_checked_and_compiled(capsys: Capture) -> None:
    assert main(["adopt", "my ds.json", "-o", "run.yaml"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (
        "",
        "zerotrain adopt: 4 placeholders to fill in, 0 keys not carried over, 2 keys compiled otherwise\n",
    )
    assert main(["check", "run.yaml", "--select", "ZT0"]) == 0
    capsys.readouterr()
    assert main(["compile", "run.yaml"]) == 0
    compiled = json.loads(capsys.readouterr().out)
    assert (compiled["train_batch_size"], compiled["optimizer"]["params"]["lr"]) == (8, 1e-4)


def test_the_draft_goes_to_standard_output(capsys: Capture) -> None:
    assert main(["adopt", "my ds.json"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["name"] == "my-ds"


def test_a_number_of_ranks_is_taken(capsys: Capture) -> None:
    main(["adopt", "my ds.json", "--world-size", "4"])

    assert yaml.safe_load(capsys.readouterr().out)["hardware"]["gpus_per_node"] == 4


def test_a_file_is_never_overwritten(capsys: Capture) -> None:
    Path("run.yaml").write_text("mine")

    assert main(["adopt", "my ds.json", "-o", "run.yaml"]) == 2
    assert "cannot write `run.yaml`: file exists" in capsys.readouterr().err
    assert Path("run.yaml").read_text() == "mine"


@pytest.mark.parametrize("text", ["{", "[1]", "", None])
def test_a_file_that_cannot_be_read_ends_with_2(text: str | None, capsys: Capture) -> None:
    if text is not None:
        Path("bad.json").write_text(text)

    assert main(["adopt", "bad.json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "bad.json" in err


def test_accelerate_s_yaml_is_adopted_with_the_config_it_names(capsys: Capture) -> None:
    Path("sub").mkdir()
    Path("sub/ds.json").write_text(CONFIG)
    Path("sub/accelerate.yaml").write_text(
        "distributed_type: DEEPSPEED\nnum_processes: 2\ndeepspeed_config: {deepspeed_config_file: ds.json}\n"
    )

    assert main(["adopt", "sub/accelerate.yaml"]) == 0
    spec = yaml.safe_load(capsys.readouterr().out)
    assert (spec["zero"]["stage"], spec["hardware"]["gpus_per_node"]) == (2, 2)
