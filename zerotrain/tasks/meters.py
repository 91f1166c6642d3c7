"""Metrics over the validation data of all ranks, without gathering what was predicted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from zerotrain.data.batch import Batch
from zerotrain.data.stores.base import IGNORED
from zerotrain.tasks.base import SummedLoss
from zerotrain.tasks.losses import summed_cross_entropy
from zerotrain.tasks.report import ClassificationReport

_LARGEST_EXPONENT = 700


class LossMeter:
    """The mean of a loss over all targets."""

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(2, dtype=torch.float64, device=device)

    def add(self, loss: SummedLoss) -> None:
        """Adds the loss of a batch."""
        self._sums += torch.stack([loss.total.double(), loss.targets.double()])

    def mean(self) -> float:
        """Returns the mean over the targets of all ranks. All ranks must call this."""
        sums = self._sums.clone()
        dist.all_reduce(sums)
        total, targets = sums.tolist()
        return total / targets


def perplexity(loss: float) -> float:
    """Returns the perplexity of a mean loss in nats; infinite where a number cannot hold it."""
    return math.exp(loss) if loss < _LARGEST_EXPONENT else math.inf


class PerplexityMeter:
    """Loss and perplexity of a language model."""

    def __init__(self, loss: Callable[[Batch], SummedLoss], device: torch.device) -> None:
        self._loss, self._mean = loss, LossMeter(device)

    def add(self, batch: Batch) -> None:
        """Adds the loss of a batch."""
        self._mean.add(self._loss(batch))

    def metrics(self) -> dict[str, float]:
        """Returns `loss` and `perplexity`."""
        mean = self._mean.mean()
        return {"loss": mean, "perplexity": perplexity(mean)}


class ClassificationMeter:
    """Loss, accuracy, precision, recall and F1 of a classifier, from counts that add up over ranks.

    Only a matrix of counts [classes, classes] travels between ranks, never logits.
    """

    def __init__(
        self,
        logits: Callable[[Batch], torch.Tensor],
        labels: Sequence[str],
        device: torch.device,
        top_k: Sequence[int] = (),
    ) -> None:
        self._logits, self._labels, self._mean = logits, labels, LossMeter(device)
        common: dict[str, Any] = {"num_classes": len(labels), "ignore_index": IGNORED, "validate_args": False}
        self._confusion = MulticlassConfusionMatrix(**common).to(device)
        tops = {f"top_{k}_accuracy": min(k, len(labels)) for k in top_k}
        self._tops = {
            name: MulticlassAccuracy(average="micro", top_k=k, **common).to(device) for name, k in tops.items()
        }

    def add(self, batch: Batch) -> None:
        """Adds what is predicted for a batch of `labels` [records]."""
        logits = self._logits(batch).float()
        self._mean.add(summed_cross_entropy(logits, batch["labels"]))
        for metric in (self._confusion, *self._tops.values()):
            metric.update(logits, batch["labels"])

    def metrics(self) -> dict[str, float]:
        """Returns `loss`, `accuracy`, `top_<k>_accuracy`, and precision, recall and F1 by average and by class."""
        tops = {name: metric.compute().item() for name, metric in self._tops.items()}
        return {"loss": self._mean.mean(), **tops, **self._report().metrics()}

    def report(self) -> dict[str, Any]:
        """Returns scores by class and the confusion matrix over all ranks. All ranks must call this."""
        return self._report().as_json()

    def _report(self) -> ClassificationReport:
        return ClassificationReport(self._confusion.compute(), self._labels)
