"""Saving: whole or not at all."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from zerotrain.runs.catalogue import catalogue
from zerotrain.runs.history import curve
from zerotrain.runs.layout import RunDirectory

SPEC = {
    "name": "tiny",
    "model": {
        "architecture": "llama",
        "config": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
    },
    "data": {
        "train": [{"type": "python_stdlib", "max_documents": 4}],
        "tokenizer": {"type": "bytes"},
        "seq_len": 32,
    },
    "batch": {"global_batch_size": 2, "micro_batch_size": 1},
    "horizon": "3 steps",
    "optimizer": {"type": "adamw", "lr": 1.0e-2},
    "schedule": {"type": "constant"},
    "zero": {"stage": 2},
    "checkpoint": {"save_every": "1 steps", "keep_last": 1},
    "hardware": {"gpus_per_node": 2},
}


def train(directory: Path, before: str = "true", after: str = "true") -> subprocess.CompletedProcess[str]:
    """Trains in a mount namespace of its own, so that a file system mounted before is gone afterwards."""
    spec = {**SPEC, "data": {**SPEC["data"], "cache": str(directory / "cache")}}  # type: ignore[dict-item]
    (directory / "spec.yaml").write_text(yaml.safe_dump(spec))
    command = f"{before} && {shlex.quote(sys.executable)} -m zerotrain train spec.yaml; code=$?; {after}; exit $code"
    return subprocess.run(
        ["unshare", "--mount", "bash", "-c", command],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def may_mount() -> bool:
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="a full disk takes the right to mount a small file system")
def test_on_a_full_disk_the_last_good_checkpoint_is_kept(tmp_path):
    (tmp_path / "roomy").mkdir()
    roomy = train(tmp_path / "roomy")
    sizes = catalogue(RunDirectory(tmp_path / "roomy" / "runs" / "tiny"))[0][0].manifest.files.values()
    size = int(sum(sizes) * 1.6) + 300_000
    (tmp_path / "tight").mkdir()

    tight = train(
        tmp_path / "tight",
        before=f"mkdir runs && mount -t tmpfs -o size={size} tmpfs runs",
        after="cp -r runs kept",
    )

    run = RunDirectory(tmp_path / "tight" / "kept" / "tiny")
    complete, passed_over = catalogue(run)
    assert roomy.returncode == 0, roomy.stderr
    assert tight.returncode == 1
    assert "warning[ZT707] unsaved-checkpoint: `step-2` could not be written, `step-1` is kept" in tight.stdout
    assert "error[ZT707] unsaved-checkpoint" in tight.stderr, "the last checkpoint of a run has to be written"
    assert [checkpoint.manifest.tag for checkpoint in complete] == ["step-1"]
    assert passed_over == []
    assert (run.checkpoints / "latest").read_text() == "step-1"
    assert sorted(curve(run)) == [1, 2, 3], "training went on"
