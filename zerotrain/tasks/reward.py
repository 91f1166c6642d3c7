"""Reward models."""

from __future__ import annotations

from functools import partial

import torch
from torch.nn import functional

from zerotrain.data.batch import Batch
from zerotrain.spec.task import RewardTask
from zerotrain.tasks.base import Model, SummedLoss, TaskContext
from zerotrain.tasks.pairs import Measures, PairMeter, both, is_pair


class Reward:
    """Gives an answer a number; the difference of two is the log-odds that one is better (Bradley and Terry, 1952)."""

    def __init__(self, context: TaskContext) -> None:
        assert isinstance(context.task, RewardTask)
        self._center = context.task.center_coefficient

    def loss(self, model: Model, batch: Batch) -> SummedLoss:
        """Returns the loss summed over all pairs."""
        real = is_pair(batch)
        measures = self._measures(model, batch)
        center = (measures["chosen_reward"] + measures["rejected_reward"]) ** 2
        return SummedLoss((measures["loss"] + self._center * center)[real].sum(), real.sum())

    def meter(self, model: Model, device: torch.device) -> PairMeter:
        """Returns a meter of the loss without its centring, of both rewards and their margin, and of accuracy."""
        return PairMeter(partial(self._measures, model), device)

    def _measures(self, model: Model, batch: Batch) -> Measures:
        rewards = both(model, batch)[..., 0]
        chosen, rejected = rewards[:, 0], rewards[:, 1]
        return {
            "loss": -functional.logsigmoid(chosen - rejected),
            "accuracy": (chosen > rejected).float(),
            "margin": chosen - rejected,
            "chosen_reward": chosen,
            "rejected_reward": rejected,
        }
