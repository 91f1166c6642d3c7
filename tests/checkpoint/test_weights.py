"""Whole weights from partitioned checkpoints."""

from __future__ import annotations

import pytest
import torch

from zerotrain.checkpoint.weights import whole_weights
from zerotrain.runs.catalogue import catalogue


@pytest.mark.sampled(2)
@pytest.mark.parametrize("ranks_", [1, 2])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_master_weights_of_every_stage_are_the_same(train, optimizer, ranks_):
    """fp32 master weights, put together from each stage's own layout, after the same three updates."""
    settings = {"type": optimizer, "lr": 1e-3, "clip_norm": None}
    changes = {"precision": "bf16", "horizon": "3 steps", "optimizer": settings}

    stages = {
        stage: whole_weights(catalogue(train({**changes, "zero.stage": stage}, ranks_).run)[0][0])
        for stage in (1, 2, 3)
    }

    for stage in (2, 3):
        assert stages[stage].keys() == stages[1].keys()
        for name, weight in stages[1].items():
            # Adam moves every weight by the learning rate, the sign of a tiny gradient is rounding: so the mean counts.
            assert (stages[stage][name] - weight).abs().mean() < 2e-4, f"{name} at stage {stage}"


def test_master_weights_have_more_precision_than_the_model(train):
    result = train({"precision": "bf16", "zero.stage": 1}, 2)

    weights = whole_weights(catalogue(result.run)[0][0])

    assert all(weight.dtype == torch.float32 for weight in weights.values())
    assert any(not torch.equal(weight, weight.bfloat16().float()) for weight in weights.values())
