"""`zerotrain status`: where a run stands, whatever state it is in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zerotrain.cli.main import main
from zerotrain.runs.attempts import Attempt, next_attempt, write_attempt
from zerotrain.runs.catalogue import Manifest
from zerotrain.runs.files import write_json
from zerotrain.runs.layout import RunDirectory

Capture = pytest.CaptureFixture[str]

RECORD = {
    "version": 1,
    "name": "tiny",
    "created": 1.0,
    "steps": 200,
    "topology": {"num_nodes": 1, "gpus_per_node": 2},
    "convergence_hash": "c",
    "execution_hash": "e",
    "data": {
        "fingerprint": "f",
        "tokenizer_fingerprint": "t",
        "vocab_size": 257,
        "eos_token_id": 256,
        "pad_token_id": 256,
        "train_samples": 10,
        "train_tokens": 310,
        "validation_samples": 0,
        "validation_tokens": 0,
    },
    "stores": {},
    "versions": {},
    "git": None,
    "overrides": [],
    "model": {},
    "resolved": {},
}
TRAIN = {"kind": "train", "loss": 3.25, "lr": 1e-3, "grad_norm": 0.5, "tokens_per_second": 1200.0, "step_seconds": 2.0}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "tiny")
    directory.logs.mkdir(parents=True)
    directory.checkpoints.mkdir()
    write_json(directory.record, RECORD)
    return directory


def status(run: RunDirectory, capsys: Capture) -> list[str]:
    assert main(["status", str(run.root)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


def test_a_run_that_has_not_begun(run: RunDirectory, capsys: Capture) -> None:
    assert status(run, capsys) == ["tiny: not started, 0/200 steps", "checkpoints: none"]


def test_a_run_under_way(run: RunDirectory, capsys: Capture) -> None:
    lines = [{**TRAIN, "step": step} for step in (1, 2)] + [{"kind": "eval", "step": 2, "metrics": {"loss": 3.5}}]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"kind": "tra')
    for tag, step in (("step-1", 1), ("step-2", 2)):
        (run.checkpoints / tag).mkdir()
        manifest = Manifest(tag, step, 8, 256, 1.0, 2, 2, "bf16", "c", {})
        write_json(run.checkpoints / tag / "manifest.json", manifest.as_json())
    (run.checkpoints / "step-3").mkdir()
    write_attempt(run, Attempt(next_attempt(run), 1_700_000_000.0, 2, None, "failed", 1_700_000_090.0, 2, "rank 1: x"))
    write_attempt(run, Attempt(next_attempt(run), 1_700_000_100.0, 2, "step-2"))
    shown = status(run, capsys)

    assert shown[:5] == [
        "tiny: running, 2/200 steps",
        "step   2/200  loss 3.2500  lr 1.00e-03  grad norm 0.500  1.2K tokens/s  6m 36s left",
        "step   2/200  validation loss 3.5",
        "checkpoints: step-2, step-1",
        "  passed over step-3: it has no manifest",
    ]
    assert shown[5].startswith("attempt 1: 2 ranks from 2023-11-1")
    assert shown[5].endswith(", failed after 1m 30s: rank 1: x")
    assert shown[6].endswith(", continued from step-2, running")


@pytest.mark.parametrize("make", ["gone", "empty", "file"])
def test_what_is_no_run_ends_with_1(tmp_path: Path, capsys: Capture, make: str) -> None:
    path = tmp_path / "x"
    if make == "empty":
        path.mkdir()
    if make == "file":
        path.touch()

    assert main(["status", str(path)]) == 1
    assert "error[ZT702] not-a-run" in capsys.readouterr().err


def test_a_damaged_record_ends_with_1(run: RunDirectory, capsys: Capture) -> None:
    run.record.write_text("{")

    assert main(["status", str(run.root)]) == 1
    assert "error[ZT703] damaged-record" in capsys.readouterr().err
