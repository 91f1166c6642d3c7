"""Running statistics of batch normalization that do not depend on how many ranks share a batch.

In training a layer normalizes each micro-batch by its own mean and variance; for evaluation it keeps running ones.
Torch moves these at every micro-batch of a rank, so that they depend on how many of them a rank has. Here they move
once for each global batch, by the mean over its micro-batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional
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


def normalize_in_fp32(model: nn.Module) -> None:
    """Lets layers with 16-bit weights normalize in fp32, in which their running statistics are.

    DeepSpeed makes 16 bits of weights and leaves buffers in fp32 (runtime/engine.py, `_cast_module_mixed_precision`);
    torch refuses the mixture on a CPU, and statistics in 16 bits would hardly move.
    """
    for layer in _layers(model):
        if layer.weight is not None and layer.weight.dtype != torch.float32:
            layer.forward = partial(_normalized, layer)  # pyright: ignore[reportAttributeAccessIssue]


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


def _normalized(layer: _BatchNorm, inputs: torch.Tensor) -> torch.Tensor:
    """Returns what torch's own forward does, with the weights raised to fp32."""
    assert layer.num_batches_tracked is not None, "a layer without statistics is left out"
    if layer.training:
        layer.num_batches_tracked.add_(1)
    momentum = 1 / max(1, int(layer.num_batches_tracked)) if layer.momentum is None else layer.momentum
    return functional.batch_norm(
        inputs,
        layer.running_mean,
        layer.running_var,
        layer.weight.float(),
        layer.bias.float(),
        layer.training,
        momentum,
        layer.eps,
    )


def _weighing(momentum: float, count: int, position: Callable[[], int]) -> Callable[[nn.Module, object], None]:
    def weigh(layer: Any, _: object) -> None:
        if layer.training:
            layer.momentum = momentum / (count - (count - position()) * momentum)

    return weigh
