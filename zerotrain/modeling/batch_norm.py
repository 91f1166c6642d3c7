"""Running statistics of batch normalization that do not depend on how many ranks share a batch.

In training a layer normalizes each micro-batch by its own mean and variance; for evaluation it keeps running ones.
Torch moves these at every micro-batch of a rank, so that they depend on how many of them a rank has. Here they move
once for each global batch, by the mean over its micro-batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def even_out(model: nn.Module, micro_batches: int, position: Callable[[], int]) -> None:
    """Weighs all micro-batches of an optimizer step alike in the running statistics.

    `position` tells the micro-batch of the step a rank is at, counted from 1. With n micro-batches and momentum m the
    i-th moves the statistics by m / (n - (n - i) m): after the last, each has the weight m / n.
    """
    for layer in _layers(model):
        momentum = layer.momentum
        if momentum is not None:  # with None a layer keeps a plain mean, in which all weigh the same
            layer.register_forward_pre_hook(_weighing(momentum, micro_batches, position))


def average_statistics(model: nn.Module) -> None:
    """Gives all ranks the mean of their running statistics; all ranks must call this.

    Statistics move by a linear rule, so that it does not matter when, or how often, they are averaged.
    """
    for layer in _layers(model):
        for statistics in (layer.running_mean, layer.running_var):
            assert statistics is not None, "a layer without statistics is left out"
            dist.all_reduce(statistics)
            statistics.div_(dist.get_world_size())


def _layers(model: nn.Module) -> Iterator[_BatchNorm]:
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.running_mean is not None:
            yield module


def _weighing(momentum: float, count: int, position: Callable[[], int]) -> Callable[[nn.Module, object], None]:
    def weigh(layer: nn.Module, _: object) -> None:
        if layer.training:
            layer.momentum = momentum / (count - (count - position()) * momentum)

    return weigh
