"""`zerotrain export`; that the weights are right is shown in tests/checkpoint/test_export.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from zerotrain.cli.main import main


def test_weights_of_a_run_are_written_for_plain_transformers(write, zerotrain, tmp_path):
    changes = {"horizon": "2 steps", "checkpoint.save_every": "1 steps", "precision": "bf16"}
    zerotrain("train", write({**changes, "launch": {"type": "local"}, "hardware.gpus_per_node": 1}))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    run = tmp_path / "runs" / "tiny"

    newest = zerotrain("export", run, "-o", tmp_path / "new" / "weights")
    older = zerotrain("export", run, "-o", tmp_path / "older", "--checkpoint", "step-1", "--dtype", "fp32")
    missing = zerotrain("export", run, "-o", tmp_path / "none", "--checkpoint", "step-9")
    foreign = zerotrain("export", run, "-o", tmp_path / "mine")

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "older", dtype="auto")
    assert newest.returncode == older.returncode == 0, newest.stderr + older.stderr
    said = f"{tmp_path}/new/weights: 37.1K parameters of `step-2` in bf16, read back and compared\n"
    assert (newest.stdout, newest.stderr) == (said, "")
    assert "of `step-1` in fp32, read back and compared" in older.stdout
    assert str(model.dtype) == "torch.float32"
    assert missing.returncode == foreign.returncode == 1
    assert "no complete checkpoint `step-9`; there are `step-2`, `step-1`" in missing.stderr
    assert "error[ZT712] foreign-directory" in foreign.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_what_is_no_run_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path), "-o", str(tmp_path / "out")]) == 1
    assert "error[ZT702] not-a-run" in capsys.readouterr().err


def test_where_to_has_to_be_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["export", str(tmp_path)])
    assert refused.value.code == 2
    assert "-o" in capsys.readouterr().err
