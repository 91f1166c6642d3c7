"""Which sinks there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zerotrain.monitor.sinks.base import ManySinks, NullSink, Sink
from zerotrain.monitor.sinks.jsonl import JsonlSink
from zerotrain.monitor.sinks.tensorboard import TensorBoardSink
from zerotrain.runs.layout import RunDirectory
from zerotrain.spec.run import MonitorSpec

SINKS: Mapping[str, Callable[[RunDirectory, int], Sink]] = {
    "tensorboard": lambda run, first_step: TensorBoardSink(run.tensorboard, first_step),
}
"""Sinks a spec can switch on, by the name of their field in `monitor`."""


def open_sinks(run: RunDirectory, monitor: MonitorSpec, rank: int, first_step: int, *others: Sink) -> Sink:
    """Returns the sinks of a rank: `metrics.jsonl`, what the spec asks for, and others on rank 0, nothing elsewhere."""
    if rank != 0:
        return NullSink()
    chosen = [make(run, first_step) for name, make in SINKS.items() if getattr(monitor, name)]
    return ManySinks([JsonlSink(run.metrics), *chosen, *others])
