"""Direct preference optimization."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch.nn import functional

from zerotrain.data.batch import Batch
from zerotrain.data.stores.base import IGNORED
from zerotrain.spec.task import DpoTask
from zerotrain.tasks.base import Model, Start, SummedLoss, TaskContext
from zerotrain.tasks.pairs import Measures, PairMeter, answer_log_probabilities, is_pair
from zerotrain.tasks.reference import Reference, reference_of

Loss = Callable[[torch.Tensor, DpoTask], torch.Tensor]
"""Losses [pairs] of how much more than the reference the model prefers the chosen answers [pairs], in nats."""


def _sigmoid(preference: torch.Tensor, task: DpoTask) -> torch.Tensor:
    """Rafailov et al., "Direct Preference Optimization", NeurIPS 2023; smoothed: Mitchell's conservative DPO."""
    scaled, smoothing = task.beta * preference, task.label_smoothing
    return -(1 - smoothing) * functional.logsigmoid(scaled) - smoothing * functional.logsigmoid(-scaled)


def _ipo(preference: torch.Tensor, task: DpoTask) -> torch.Tensor:
    """Azar et al., "A General Theoretical Paradigm to Understand Learning from Human Preferences", eq. 17."""
    return (preference - 1 / (2 * task.beta)) ** 2


def _hinge(preference: torch.Tensor, task: DpoTask) -> torch.Tensor:
    """Zhao et al., "SLiC-HF", 2023, with the reference's preference as in DPO."""
    return functional.relu(1 - task.beta * preference)


LOSSES: Mapping[str, Loss] = {"sigmoid": _sigmoid, "ipo": _ipo, "hinge": _hinge}


class Dpo:
    """Makes the chosen answer likelier, and the rejected one less likely, than the reference has them."""

    def __init__(self, context: TaskContext) -> None:
        assert isinstance(context.task, DpoTask)
        self._task = context.task
        self._reference: Reference = {}

    def begin(self, start: Start) -> None:
        """Learns what the reference says of all samples."""
        self._reference = reference_of(start, partial(answer_log_probabilities, start.model))

    def loss(self, model: Model, batch: Batch) -> SummedLoss:
        """Returns the loss summed over all pairs."""
        real = is_pair(batch)
        return SummedLoss(self._measures(model, "train", batch)["loss"][real].sum(), real.sum())

    def meter(self, model: Model, device: torch.device) -> PairMeter:
        """Returns a meter of the loss, of the rewards of both answers and their margin, and how often it is right."""
        return PairMeter(partial(self._measures, model, "validation"), device)

    def _measures(self, model: Model, data: str, batch: Batch) -> Measures:
        """Returns the numbers of each row; of one without a pair they mean nothing."""
        reference = self._reference[data][batch["sample"].clamp(min=0)]
        gains = answer_log_probabilities(model, batch) - reference
        rewards = self._task.beta * gains.detach()
        if self._task.loss == "ipo":
            gains = gains / (batch["labels"] != IGNORED).sum(-1).clamp(min=1)
        return {
            "loss": LOSSES[self._task.loss](gains[:, 0] - gains[:, 1], self._task),
            "accuracy": (rewards[:, 0] > rewards[:, 1]).float(),
            "margin": rewards[:, 0] - rewards[:, 1],
            "chosen_reward": rewards[:, 0],
            "rejected_reward": rewards[:, 1],
        }
