"""What tasks on pairs share: running both sequences of each pair through a model, and means over all pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch.nn import functional

from zerotrain.data.batch import Batch
from zerotrain.data.stores.base import IGNORED
from zerotrain.tasks.base import Model

Measures = Mapping[str, torch.Tensor]
"""Numbers [pairs] by name."""


def both(model: Model, batch: Batch) -> torch.Tensor:
    """Returns the logits of all sequences of a batch, in fp32: those of a pair stand side by side, [rows, 2, ...]."""
    rows = len(batch["input_ids"])
    inputs: dict[str, Any] = {name: batch[name].flatten(0, 1) for name in ("input_ids", "attention_mask")}
    return model(**inputs).logits.float().unflatten(0, (rows, 2))


def answer_log_probabilities(model: Model, batch: Batch) -> torch.Tensor:
    """Returns [rows, 2] the sum of the log-probabilities of each answer's tokens."""
    logits, labels = both(model, batch), batch["labels"]
    losses = functional.cross_entropy(logits.flatten(0, 2), labels.flatten(), ignore_index=IGNORED, reduction="none")
    return -losses.view(labels.shape).sum(-1)


def is_pair(batch: Batch) -> torch.Tensor:
    """Returns [rows] whether a row has a pair; the others fill up a batch."""
    return batch["sample"] >= 0


class PairMeter:
    """Means over the pairs of all ranks."""

    def __init__(self, measure: Callable[[Batch], Measures], device: torch.device) -> None:
        self._measure, self._device = measure, device
        self._sums: dict[str, torch.Tensor] = {}
        self._pairs = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, batch: Batch) -> None:
        """Adds what is measured of a batch, whose rows without a pair do not count."""
        real = is_pair(batch)
        self._pairs += real.sum()
        for name, values in self._measure(batch).items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(self._pairs)) + values[real].double().sum()

    def metrics(self) -> dict[str, float]:
        """Returns the mean of each measure."""
        sums = torch.stack([*self._sums.values(), self._pairs])
        dist.all_reduce(sums)
        *totals, pairs = sums.tolist()
        return {name: total / pairs for name, total in zip(self._sums, totals, strict=True)}
