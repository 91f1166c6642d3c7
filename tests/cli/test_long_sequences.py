"""Sequences far beyond what one rank holds are trained by dividing them and working in pieces."""

from __future__ import annotations

import math
import subprocess
import sys

from zerotrain.runs.history import curve
from zerotrain.runs.layout import RunDirectory

LIMIT = 3 << 30
"""Bytes of address space of each process: torch's libraries take about half of it."""


def test_a_sample_that_one_rank_cannot_hold_is_trained_by_two_in_pieces(write, tmp_path):
    length, vocabulary = 8192, 65536
    assert length * vocabulary * 4 > LIMIT / 2, "its logits alone do not fit"
    changes = {
        "model.config.vocab_size": vocabulary,
        "model.config.max_position_embeddings": length,
        "data.seq_len": length,
        "data.packing": "concat",
        "data.validation": [],
        "batch": {"global_batch_size": 1, "micro_batch_size": 1},
        "horizon": "1 steps",
        "hardware.gpus_per_node": 1,
        "zero.stage": 3,
    }
    whole = limited("train", write(changes), "name=whole", cwd=tmp_path)
    in_pieces = {"parallel": {"sp": 2}, "tiling": {"mlp": 4, "logits": 16}, "hardware.gpus_per_node": 2}
    divided = limited("train", write({**changes, **in_pieces}), "name=divided", cwd=tmp_path)

    assert whole.returncode == 1
    assert "error[ZT816] out-of-memory" in whole.stderr, whole.stderr
    assert "`tiling`" in whole.stderr, "the way out is told"
    assert divided.returncode == 0, divided.stdout + divided.stderr
    row = curve(RunDirectory(tmp_path / "runs" / "divided"))[1]
    assert row["tokens"] > length / 2
    assert row["loss"] < 1.2 * math.log(vocabulary)


def limited(*words, cwd):
    command = ["prlimit", f"--as={LIMIT}", sys.executable, "-m", "zerotrain", *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
