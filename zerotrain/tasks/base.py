"""What a task is: it turns a batch into a loss that can be added up, and measures what the model can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

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
    auxiliary: torch.Tensor | None = None
    """What is trained beside the loss and not part of it, such as an even load of experts; summed in the same way."""

    @property
    def trained(self) -> torch.Tensor:
        """What gradients are taken of."""
        return self.total if self.auxiliary is None else self.total + self.auxiliary


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


@dataclass(frozen=True)
class Pass:
    """One pass over some data in order, divided over the ranks; each rank has the same number of batches."""

    samples: int
    """Samples of all ranks."""
    batches: Callable[[], Iterator[Batch]]
    """Returns this rank's, on its device."""


@dataclass(frozen=True)
class Start:
    """What is known before an attempt trains on."""

    model: Model
    """In evaluation mode."""
    device: torch.device
    step: int
    """Updates that were made; 0: the weights are those that the run starts from."""
    folder: Path
    """Where what is learned then is kept for later attempts."""
    fingerprint: str
    """Of the data."""
    data: Mapping[str, Pass]
    """`train`, and `validation` where there is some."""
    is_first: bool
    """This rank writes."""


class Meter(Protocol):
    """Measures a model on validation data, batch by batch."""

    def add(self, batch: Batch) -> None:
        """Lets the model predict a batch, without gradients, and notes how well. Rows without a target do not count."""
        ...

    def metrics(self) -> dict[str, float]:
        """Returns the metrics over the batches of all ranks, the same on each. All ranks must call this."""
        ...


@runtime_checkable
class ReportingMeter(Meter, Protocol):
    """A meter that can tell more than numbers with a name."""

    def report(self) -> Mapping[str, Any]:
        """Returns everything that was measured, as values that JSON can hold. All ranks must call this."""
        ...


class Task(Protocol):
    """Turns batches into losses."""

    def loss(self, model: Model, batch: Batch) -> SummedLoss:
        """Returns the loss of a micro-batch."""
        ...

    def meter(self, model: Model, device: torch.device) -> Meter:
        """Returns a new meter for one pass over the validation data."""
        ...


@runtime_checkable
class Starting(Protocol):
    """A task that needs to know something before it can be trained on, such as what the untrained model says."""

    def begin(self, start: Start) -> None:
        """Is called on every rank before the first update of each attempt, and before the first measurement."""
        ...
