"""Next-token prediction."""

from __future__ import annotations

from dataclasses import replace

import torch

from zerotrain.data.batch import Batch
from zerotrain.modeling.routers import router_loss
from zerotrain.modeling.unwrap import module_of
from zerotrain.spec.task import PretrainTask
from zerotrain.tasks.base import Model, SummedLoss, TaskContext
from zerotrain.tasks.meters import PerplexityMeter
from zerotrain.tasks.next_token import NextToken


class Pretrain(NextToken):
    """Predicts the next token of text."""

    def __init__(self, context: TaskContext) -> None:
        assert isinstance(context.task, PretrainTask)
        self._smoothing = context.task.label_smoothing

    def loss(self, model: Model, batch: Batch) -> SummedLoss:
        """Returns the cross-entropy summed over all trained positions.

        What routers of experts add counts once for each of them.
        """
        loss, output = self.judged(model, batch, self._smoothing)
        added = router_loss(module_of(model), output)
        return loss if added is None else replace(loss, auxiliary=added * loss.targets)

    def meter(self, model: Model, device: torch.device) -> PerplexityMeter:
        """Returns a meter of loss and perplexity, both without label smoothing."""
        return PerplexityMeter(lambda batch: self.judged(model, batch, smoothing=0.0)[0], device)
