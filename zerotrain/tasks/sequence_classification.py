"""Putting texts into classes."""

from __future__ import annotations

import inspect
from functools import cache, partial

import torch
from torch import nn

from zerotrain.data.batch import Batch
from zerotrain.modeling.unwrap import module_of
from zerotrain.spec.task import SequenceClassificationTask
from zerotrain.tasks.base import Model, SummedLoss, TaskContext
from zerotrain.tasks.losses import summed_cross_entropy
from zerotrain.tasks.meters import ClassificationMeter


class SequenceClassification:
    """Predicts the class of a text, or of a pair of texts."""

    def __init__(self, context: TaskContext) -> None:
        assert isinstance(context.task, SequenceClassificationTask)
        self._smoothing, self._labels = context.task.label_smoothing, context.labels

    def logits(self, model: Model, batch: Batch) -> torch.Tensor:
        """Returns [batch, classes]."""
        names = ("input_ids", "attention_mask", "token_type_ids")
        known = _arguments(type(module_of(model)))
        return model(**{name: batch[name] for name in names if name in known}).logits

    def loss(self, model: Model, batch: Batch) -> SummedLoss:
        """Returns the cross-entropy summed over all records."""
        return summed_cross_entropy(self.logits(model, batch), batch["labels"], self._smoothing)

    def meter(self, model: Model, device: torch.device) -> ClassificationMeter:
        """Returns a meter of the usual metrics of classification; its loss is without label smoothing."""
        return ClassificationMeter(partial(self.logits, model), self._labels, device)


@cache
def _arguments(kind: type[nn.Module]) -> frozenset[str]:
    """Returns what models of a class can be given; not every architecture tells a first text from a second."""
    return frozenset(inspect.signature(kind.forward).parameters)
