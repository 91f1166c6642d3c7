"""What a task is: it turns a batch into a loss that can be added up, and measures what the model can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from deepspeed import DeepSpeedEngine
from torch import nn

from zerotrain.data.batch import Batch
from zerotrain.spec.task import TaskSpec

Model = DeepSpeedEngine | nn.Module
"""What is called with a batch: the engine, or a model alone."""


@dataclass(frozen=True)
class SummedLoss:
    """A loss summed, not averaged, over the targets of a micro-batch, so that micro-batches and ranks add up."""

    total: torch.Tensor
    """Scalar in fp32."""
    targets: torch.Tensor
    """Number of trained tokens, classified records or compared pairs; a scalar integer."""


@dataclass(frozen=True)
class TaskContext:
    """What a task is made from."""

    task: TaskSpec
    labels: Sequence[str] = ()
    """Names of the classes, where there are any."""
    vocab_size: int = 0
    """Entries of the tokenizer's vocabulary; 0 without one."""
    teacher: Model | None = None
    """What a student learns from, without gradients; None where there is none."""


class Meter(Protocol):
    """Measures a model on validation data, batch by batch."""

    def add(self, batch: Batch) -> None:
        """Lets the model predict a batch, without gradients, and notes how well. Rows without a target do not count."""
        ...

    def metrics(self) -> dict[str, float]:
        """Returns the metrics over the batches of all ranks, the same on each. All ranks must call this."""
        ...


class Task(Protocol):
    """Turns batches into losses."""

    def loss(self, model: Model, batch: Batch) -> SummedLoss:
        """Returns the loss of a micro-batch."""
        ...

    def meter(self, model: Model, device: torch.device) -> Meter:
        """Returns a new meter for one pass over the validation data."""
        ...
