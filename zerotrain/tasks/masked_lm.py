"""Predicting tokens that are hidden, from those on both sides of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from transformers import PreTrainedModel

from zerotrain.data.batch import Batch
from zerotrain.modeling.unwrap import module_of
from zerotrain.spec.task import MaskedLmTask
from zerotrain.tasks.base import Model, SummedLoss, TaskContext
from zerotrain.tasks.losses import summed_cross_entropy
from zerotrain.tasks.meters import LossMeter, perplexity


class MaskedLm:
    """Predicts the tokens of a text that are hidden.

    Documents that share a sample are kept apart by a mask of their own: transformers reads the borders of documents
    from positions only where a token sees none behind it.
    """

    def __init__(self, context: TaskContext) -> None:
        assert isinstance(context.task, MaskedLmTask)
        self._smoothing = context.task.label_smoothing

    def logits(self, model: Model, batch: Batch) -> torch.Tensor:
        """Returns [batch, length, vocabulary] for `input_ids` [batch, length]."""
        if "segment_ids" not in batch:
            return model(input_ids=batch["input_ids"], attention_mask=batch.get("attention_mask")).logits
        mask = block_mask(module_of(model), batch["segment_ids"])
        return model(input_ids=batch["input_ids"], attention_mask=mask, position_ids=batch["position_ids"]).logits

    def loss(self, model: Model, batch: Batch) -> SummedLoss:
        """Returns the cross-entropy summed over all hidden tokens."""
        return summed_cross_entropy(self.logits(model, batch), batch["labels"], self._smoothing)

    def meter(self, model: Model, device: torch.device) -> MaskedLmMeter:
        """Returns a meter of loss, perplexity and accuracy; its loss is without label smoothing."""
        return MaskedLmMeter(partial(self.logits, model), device)


class MaskedLmMeter:
    """Loss and perplexity of what is hidden, and how much of it is predicted rightly."""

    def __init__(self, logits: Callable[[Batch], torch.Tensor], device: torch.device) -> None:
        self._logits = logits
        self._mean, self._accuracy = LossMeter(device), LossMeter(device)

    def add(self, batch: Batch) -> None:
        """Adds what is predicted for a batch."""
        logits, labels = self._logits(batch), batch["labels"]
        loss = summed_cross_entropy(logits, labels)
        self._mean.add(loss)
        self._accuracy.add(SummedLoss((logits.argmax(-1) == labels).sum(), loss.targets))

    def metrics(self) -> dict[str, float]:
        """Returns `loss`, `perplexity` and `accuracy`, over the hidden tokens of all ranks."""
        mean = self._mean.mean()
        return {"loss": mean, "perplexity": perplexity(mean), "accuracy": self._accuracy.mean()}


def block_mask(model: PreTrainedModel, segment_ids: torch.Tensor) -> torch.Tensor:
    """Returns the mask [batch, 1, length, length] under which a token sees its own segment, and padding padding.

    SDPA takes truth values, in every dtype; eager attention adds the mask to its scores.
    """
    same = segment_ids[:, None, :, None] == segment_ids[:, None, None, :]
    if model.config._attn_implementation != "eager":
        return same
    dtype = model.dtype
    return torch.zeros(same.shape, dtype=dtype, device=same.device).masked_fill(~same, torch.finfo(dtype).min)
