"""A mixture of sources on real ranks."""

from __future__ import annotations

import shutil
from typing import Any

MIXED = {
    "data.train": [
        {"type": "python_stdlib", "max_documents": 6, "weight": 1},
        {"type": "python_stdlib", "split": "validation", "max_documents": 3, "weight": 3},
    ],
    "checkpoint.save_every": "2 steps",
    "horizon": "4 steps",
    "precision": "fp32",
    "zero.stage": 2,
}


def test_a_mixture_resumes_bit_for_bit(train: Any, ranks: Any) -> None:
    whole = train(MIXED, 2)
    shutil.rmtree(sorted(whole.run.checkpoints.glob("step-*"))[-1])

    resumed = ranks.start(whole.run.root.parent.parent, [str(whole.run.root)], 2)

    assert len(whole.losses) == 4
    assert resumed.losses == whole.losses
