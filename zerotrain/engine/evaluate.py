"""Metrics on the validation data."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from deepspeed import DeepSpeedEngine
from deepspeed.runtime.pipe.engine import PipelineEngine

from zerotrain.data.loader import Loader
from zerotrain.engine.device import device_of, evaluating
from zerotrain.engine.pipeline import measure
from zerotrain.modeling.batch_norm import average_statistics
from zerotrain.modeling.unwrap import module_of
from zerotrain.runs.files import write_json
from zerotrain.tasks.base import ReportingMeter, Task


def evaluate(
    engine: DeepSpeedEngine, task: Task, loader: Loader, max_samples: int | None, report: Path | None = None
) -> dict[str, float]:
    """Returns the metrics of the task over the validation data of all ranks.

    Where the task has a report, the first rank writes it to the file `report`, in place of an older one.

    Every rank makes the same number of forward passes, so that stage 3, where each pass gathers weights from all ranks,
    never waits for a rank that has no samples left.
    """
    device = device_of(engine)
    average_statistics(module_of(engine))
    with evaluating(engine), torch.no_grad():
        micro_batches = loader.sequential(max_samples)
        if isinstance(engine, PipelineEngine):
            meter = measure(engine, task, micro_batches)
        else:
            meter = task.meter(engine, device)
            for micro_batch in micro_batches:
                meter.add(micro_batch.batch.to(device))
    if isinstance(meter, ReportingMeter) and report is not None:
        content = meter.report()
        if dist.get_rank() == 0:
            write_json(report, content)
    return meter.metrics()
