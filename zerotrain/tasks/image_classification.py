"""Putting images into classes."""

from __future__ import annotations

from functools import partial

import torch

from zerotrain.data.batch import Batch
from zerotrain.spec.task import ImageClassificationTask
from zerotrain.tasks.base import Model, SummedLoss, TaskContext
from zerotrain.tasks.losses import summed_cross_entropy
from zerotrain.tasks.meters import ClassificationMeter


class ImageClassification:
    """Predicts the class of an image."""

    def __init__(self, context: TaskContext) -> None:
        assert isinstance(context.task, ImageClassificationTask)
        self._task, self._labels = context.task, context.labels

    def logits(self, model: Model, batch: Batch) -> torch.Tensor:
        """Returns [batch, classes]; pixels get the dtype of the weights."""
        dtype = next(iter(model.parameters())).dtype
        return model(pixel_values=batch["pixel_values"].to(dtype)).logits

    def loss(self, model: Model, batch: Batch) -> SummedLoss:
        """Returns the cross-entropy summed over all images."""
        return summed_cross_entropy(self.logits(model, batch), batch["labels"], self._task.label_smoothing)

    def meter(self, model: Model, device: torch.device) -> ClassificationMeter:
        """Returns a meter of the usual metrics of classification; its loss is without label smoothing."""
        return ClassificationMeter(partial(self.logits, model), self._labels, device, tuple(self._task.top_k))
