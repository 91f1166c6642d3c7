"""Metrics over the validation data of all ranks, without gathering what was predicted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassPrecision, MulticlassRecall

from zerotrain.data.batch import Batch
from zerotrain.data.stores.base import IGNORED
from zerotrain.tasks.base import SummedLoss
from zerotrain.tasks.losses import summed_cross_entropy

_LARGEST_EXPONENT = 700
_AVERAGES = ("macro", "micro", "weighted")


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


def perplexity_of(loss: float) -> float:
    """Returns the perplexity at a mean cross-entropy; infinity where a float cannot hold it."""
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
        return {"loss": mean, "perplexity": perplexity_of(mean)}


class ClassificationMeter:
    """Loss, accuracy, precision, recall and F1 of a classifier, from counts that add up over ranks.

    Only counts per class travel between ranks (true and false positives and negatives), never logits.
    """

    def __init__(
        self, logits: Callable[[Batch], torch.Tensor], classes: int, device: torch.device, top_k: tuple[int, ...] = ()
    ) -> None:
        self._logits, self._mean = logits, LossMeter(device)
        self._averages = MetricCollection(_averages(classes, top_k), compute_groups=False).to(device)

    def add(self, batch: Batch) -> None:
        """Adds what is predicted for a batch of `labels` [records]."""
        logits = self._logits(batch).float()
        self._mean.add(summed_cross_entropy(logits, batch["labels"]))
        self._averages.update(logits, batch["labels"])

    def metrics(self) -> dict[str, float]:
        """Returns `loss`, `accuracy`, `top_<k>_accuracy`, and precision, recall and F1 by average and by class."""
        found: dict[str, float] = {"loss": self._mean.mean()}
        for name, value in self._averages.compute().items():
            if value.ndim == 0:
                found[name] = value.item()
            else:
                found |= {f"{name}_{number}": part for number, part in enumerate(value.tolist())}
        return found


def _averages(classes: int, top_k: tuple[int, ...]) -> dict[str, Metric | MetricCollection]:
    common: dict[str, Any] = {"num_classes": classes, "ignore_index": IGNORED, "validate_args": False}
    scores = {"precision": MulticlassPrecision, "recall": MulticlassRecall, "f1": MulticlassF1Score}
    metrics: dict[str, Metric | MetricCollection] = {"accuracy": MulticlassAccuracy(average="micro", **common)}
    for k in top_k:
        metrics[f"top_{k}_accuracy"] = MulticlassAccuracy(average="micro", top_k=min(k, classes), **common)
    for name, metric in scores.items():
        metrics |= {
            f"{name}_{average}": metric(average=average, **common) for average in ("macro", "micro", "weighted")
        }
        metrics[f"{name}_class"] = metric(average="none", **common)
    return metrics
