"""Metrics on the validation data."""

from __future__ import annotations

import torch
from deepspeed import DeepSpeedEngine

from zerotrain.data.loader import Loader
from zerotrain.engine.device import device_of
from zerotrain.modeling.batch_norm import average_statistics
from zerotrain.tasks.base import Task


def evaluate(engine: DeepSpeedEngine, task: Task, loader: Loader, max_samples: int | None) -> dict[str, float]:
    """Returns the metrics of the task over the validation data of all ranks.

    Every rank makes the same number of forward passes, so that stage 3, where each pass gathers weights from all ranks,
    never waits for a rank that has no samples left.
    """
    device = device_of(engine)
    average_statistics(engine.module)
    engine.eval()
    with torch.no_grad():
        meter = task.meter(engine, device)
        for micro_batch in loader.sequential(max_samples):
            meter.add(micro_batch.batch.to(device))
    engine.train()
    return meter.metrics()
