"""What a task is: it turns a batch into a loss that can be added up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from deepspeed import DeepSpeedEngine

from zerotrain.data.collate import Batch


@dataclass(frozen=True)
class SummedLoss:
    """A loss summed, not averaged, over the trained tokens of a micro-batch, so that micro-batches and ranks add up."""

    total: torch.Tensor
    """Scalar in fp32."""
    tokens: torch.Tensor
    """Number of trained tokens; a scalar integer."""


class Task(Protocol):
    """Turns batches into losses."""

    def logits(self, engine: DeepSpeedEngine, input_ids: torch.Tensor, position_ids: torch.Tensor) -> torch.Tensor:
        """Returns what the model predicts at each position."""
        ...

    def loss(self, engine: DeepSpeedEngine, batch: Batch) -> SummedLoss:
        """Returns the loss of a micro-batch."""
        ...
