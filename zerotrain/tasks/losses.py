"""Losses that are summed, not averaged."""

from __future__ import annotations

import torch
from torch.nn import functional

from zerotrain.data.stores.base import IGNORED
from zerotrain.tasks.base import SummedLoss


def summed_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> SummedLoss:
    """Returns the cross-entropy of logits [..., classes], in fp32, summed over the labels [...] that are not ignored.

    `smoothing` spreads a share of the target evenly over all classes (Szegedy et al., CVPR 2016).
    """
    total = functional.cross_entropy(
        logits.flatten(0, -2).float(),
        labels.flatten(),
        ignore_index=IGNORED,
        reduction="sum",
        label_smoothing=smoothing,
    )
    return SummedLoss(total, count_targets(labels))


def count_targets(labels: torch.Tensor) -> torch.Tensor:
    """Returns how many labels are not ignored."""
    return torch.count_nonzero(labels != IGNORED)
