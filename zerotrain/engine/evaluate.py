"""Metrics on the validation data."""

from __future__ import annotations

import math

import torch
from deepspeed import DeepSpeedEngine

from zerotrain.data.loader import Loader
from zerotrain.engine.device import device_of
from zerotrain.engine.reduce import sum_over_ranks
from zerotrain.tasks.base import Task


def evaluate(engine: DeepSpeedEngine, task: Task, loader: Loader, max_samples: int | None) -> dict[str, float]:
    """Returns loss and perplexity over the validation tokens of all ranks.

    Every rank makes the same number of forward passes, so that stage 3, where each pass gathers weights from all ranks,
    never waits for a rank that has no samples left.
    """
    device = device_of(engine)
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    engine.eval()
    with torch.no_grad():
        for micro_batch in loader.sequential(max_samples):
            loss = task.loss(engine, micro_batch.batch.to(device))
            sums += torch.stack([loss.total.double(), loss.tokens.double()])
    engine.train()
    total, tokens = sum_over_ranks(sums).tolist()
    mean = total / tokens
    return {"loss": mean, "perplexity": math.exp(mean) if mean < 700 else math.inf}
