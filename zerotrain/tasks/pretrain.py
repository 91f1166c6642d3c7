"""Next-token prediction."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from zerotrain.data.batch import Batch
from zerotrain.modeling.routers import router_loss
from zerotrain.modeling.unwrap import module_of
from zerotrain.spec.task import PretrainTask
from zerotrain.tasks.base import Model, SummedLoss, TaskContext
from zerotrain.tasks.losses import summed_cross_entropy
from zerotrain.tasks.meters import PerplexityMeter
from zerotrain.tasks.next_token import NextToken


class Pretrain(NextToken):
    """Predicts the next token of text."""

    def __init__(self, context: TaskContext) -> None:
        assert isinstance(context.task, PretrainTask)
        self._smoothing = context.task.label_smoothing

    def loss(self, model: Model, batch: Batch) -> SummedLoss:
        """Returns the cross-entropy summed over all trained positions; labels are already shifted.

        What routers of experts add counts once for each of them.
        """
        output = self.output(model, batch["input_ids"], batch["position_ids"])
        loss = summed_cross_entropy(output.logits, batch["labels"], self._smoothing)
        added = router_loss(module_of(model), output)
        return loss if added is None else replace(loss, auxiliary=added * loss.targets)

    def meter(self, model: Model, device: torch.device) -> PerplexityMeter:
        """Returns a meter of loss and perplexity, both without label smoothing."""
        return PerplexityMeter(partial(self._cross_entropy, model, smoothing=0.0), device)

    def _cross_entropy(self, model: Model, batch: Batch, smoothing: float) -> SummedLoss:
        logits = self.logits(model, batch["input_ids"], batch["position_ids"])
        return summed_cross_entropy(logits, batch["labels"], smoothing)
