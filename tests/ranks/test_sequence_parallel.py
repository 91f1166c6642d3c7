"""Sequences divided over ranks learn what whole sequences learn."""

from __future__ import annotations

import shutil

import pytest
import torch

from zerotrain.checkpoint.weights import whole_weights
from zerotrain.runs.catalogue import catalogue

slow = pytest.mark.slow

KINDS = {
    "isolated": {},
    "concat": {"data.packing": "concat"},
    "padded": {"data.packing": "none"},
    "windows": {"model.architecture": "mistral", "model.config.sliding_window": 16},
    "qwen3": {"model.architecture": "qwen3"},
    "one key-value head": {"model.config.num_key_value_heads": 1},
}
CASES = [
    pytest.param(kind, stage, sp, ranks, marks=[] if chosen else [slow], id=f"{kind}-stage{stage}-sp{sp}-{ranks}ranks")
    for kind in KINDS
    for stage in (0, 1, 2, 3)
    for sp, ranks in ((2, 2), (2, 4), (4, 4))
    for chosen in [
        (kind, stage, sp, ranks)
        in {("isolated", 0, 2, 2), ("windows", 1, 2, 2), ("padded", 2, 4, 4), ("isolated", 3, 2, 4)}
    ]
]


@pytest.mark.parametrize(("kind", "stage", "sp", "world"), CASES)
def test_losses_norms_and_metrics_are_those_of_one_plain_rank(train, kind, stage, sp, world):
    plain = train({**KINDS[kind], "batch.micro_batch_size": 8}, 1)

    divided = train({**KINDS[kind], "zero.stage": stage, "parallel.sp": sp}, world)

    assert divided.losses == pytest.approx(plain.losses, rel=1e-5)
    assert divided.grad_norms == pytest.approx(plain.grad_norms, rel=1e-4)
    (measured,), (expected,) = (result.rows("eval")[-1:] for result in (divided, plain))
    assert measured["metrics"] == pytest.approx(expected["metrics"], rel=1e-4)


@pytest.mark.parametrize("stage", [pytest.param(0, marks=slow), 2, pytest.param(3, marks=slow)])
def test_a_resumed_run_is_the_same_bit_for_bit_and_its_weights_are_those_of_one_plain_rank(train, ranks, stage):
    changes = {"horizon": "6 steps", "checkpoint.save_every": "3 steps"}
    plain = train({**changes, "batch.micro_batch_size": 8}, 1)
    result = train({**changes, "zero.stage": stage, "parallel.sp": 2}, 2)
    first = result.losses
    shutil.rmtree(result.run.checkpoints / "step-6")

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 2)

    assert [row["loss"] for row in again.rows("train") if row["attempt"] == 2] == first[3:]
    found, expected = (whole_weights(catalogue(each.run)[0][0]) for each in (again, plain))
    assert all(torch.allclose(found[name], weight, atol=2e-3) for name, weight in expected.items())
