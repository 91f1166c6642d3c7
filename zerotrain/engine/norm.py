"""The norm of a gradient of which each rank has a part."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from deepspeed import DeepSpeedEngine
from deepspeed.moe.utils import is_moe_param
from deepspeed.runtime.utils import is_model_parallel_parameter
from deepspeed.utils import groups


def gradient_norm(engine: DeepSpeedEngine) -> torch.Tensor:
    """Returns the norm of the gradients of a whole model; all ranks that hold parts of it must call this.

    Parameters that are divided over a tensor-parallel group count with the parts of all its ranks, experts with those
    of all ranks of their group, the others once.
    """
    parts: dict[str | None, list[Any]] = {None: []}
    for parameter in engine.parameters():
        if parameter.grad is not None:
            parts.setdefault(_group_name(parameter), []).append(parameter)
    squares = _square(parts.pop(None))
    for name, divided in parts.items():
        square = _square(divided)
        torch.distributed.all_reduce(square, group=_group(name))
        squares = squares + square
    return squares.sqrt()


_TENSOR = "tensor"


def _group_name(parameter: Any) -> str | None:
    """Returns what the ranks are called that hold the other parts of a parameter; None when every rank has it whole."""
    if is_moe_param(parameter):
        return parameter.group_name
    return _TENSOR if is_model_parallel_parameter(parameter) else None


def _group(name: str | None) -> Any:
    if name == _TENSOR:
        return groups.get_tensor_model_parallel_group()
    return groups._get_expert_parallel_group(name)


def _square(parameters: Iterable[Any]) -> torch.Tensor:
    return torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters]) ** 2
