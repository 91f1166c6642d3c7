"""Parameters on a disk: the same training, and a checkpoint that has everything."""

from __future__ import annotations

import ctypes.util
import shutil
import subprocess
import sys

import pytest

MISSING = ctypes.util.find_library("aio") is None

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MISSING, reason="no libaio, which NVMe offload needs: `apt-get install libaio-dev`"),
]


WIDE = {
    "model.config.hidden_size": 1024,
    "model.config.intermediate_size": 2048,
    "model.config.num_attention_heads": 8,
    "optimizer.lr": 1e-4,
}
"""Matrices of which a rank's part is large enough: DeepSpeed leaves what is smaller than 1 MiB in memory."""


_BUILD = """
from zerotrain.engine.ops import build_ops
build_ops({"optimizer": {"type": "SGD"}, "zero_optimization": {"offload_param": {"device": "nvme"}}}, print)
"""


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """Compiles what runs would wait for."""
    subprocess.run([sys.executable, "-c", _BUILD], check=True)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_parameters_on_nvme_train_and_resume_as_those_in_memory(train, ranks, tmp_path, precision):
    long = {"horizon": "6 steps", "checkpoint.save_every": "3 steps", "precision": precision, "zero.stage": 3, **WIDE}
    there = {"device": "nvme", "nvme_path": str(tmp_path / "fast")}
    result = train({**long, "zero.offload_optimizer": {"device": "cpu"}, "zero.offload_param": there}, 2)
    first = [(row["step"], row["loss"], row["grad_norm"]) for row in result.rows("train")]
    shutil.rmtree(result.run.checkpoints / "step-6")

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 2)

    assert [(r["step"], r["loss"], r["grad_norm"]) for r in again.rows("train") if r["attempt"] == 2] == first[3:]
    in_memory = train({**long, "zero.offload_optimizer": {"device": "cpu"}}, 2)
    assert result.losses == pytest.approx(in_memory.losses, rel=1e-6)
    assert list((tmp_path / "fast").rglob("*.swp"))
