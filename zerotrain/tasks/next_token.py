"""What tasks that predict the next token share."""

from __future__ import annotations

from typing import Any

import torch

from zerotrain.data.batch import Batch
from zerotrain.modeling.tiling import tiled_head
from zerotrain.modeling.unwrap import module_of
from zerotrain.tasks.base import Model, SummedLoss
from zerotrain.tasks.losses import count_targets, summed_cross_entropy


class NextToken:
    """A task whose model predicts the next token of text.

    Positions start at 0 in every document of a sample; from that transformers makes masks under which documents do
    not see each other, with a model's sliding window where it has one.
    """

    def logits(self, model: Model, input_ids: torch.Tensor, position_ids: torch.Tensor) -> torch.Tensor:
        """Returns [batch, length, vocabulary] for ids and positions [batch, length]."""
        return self.output(model, input_ids, position_ids).logits

    def judged(self, model: Model, batch: Batch, smoothing: float) -> tuple[SummedLoss, Any]:
        """Returns the cross-entropy summed over all trained positions, and all else that transformers returns.

        Labels are already shifted. Where the head works in pieces there are no logits.
        """
        labels, head = batch["labels"], tiled_head(module_of(model))
        inputs = batch["input_ids"], batch["position_ids"]
        if head is None:
            output = self.output(model, *inputs)
            return summed_cross_entropy(output.logits, labels, smoothing), output
        with head.expecting(labels, lambda logits, labels: summed_cross_entropy(logits, labels, smoothing).total):
            output = self.output(model, *inputs)
        return SummedLoss(output.logits, count_targets(labels)), output

    def output(self, model: Model, input_ids: torch.Tensor, position_ids: torch.Tensor) -> Any:
        """Returns all that transformers returns."""
        return model(input_ids=input_ids, position_ids=position_ids, use_cache=False)
