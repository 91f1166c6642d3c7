"""The norm of a gradient of which each rank has a part."""

from __future__ import annotations

import torch
from deepspeed import DeepSpeedEngine
from deepspeed.runtime.utils import is_model_parallel_parameter
from deepspeed.utils import groups


def gradient_norm(engine: DeepSpeedEngine) -> float:
    """Returns the norm of the gradients of a whole model; all ranks of a tensor-parallel group must call this.

    Parameters that are divided over the group count with the parts of all its ranks, the others once.
    """
    own = [parameter for parameter in engine.parameters() if parameter.grad is not None]
    divided = [parameter for parameter in own if is_model_parallel_parameter(parameter)]
    whole = [parameter for parameter in own if not is_model_parallel_parameter(parameter)]
    squares = _norm(divided) ** 2
    if divided:
        torch.distributed.all_reduce(squares, group=groups.get_tensor_model_parallel_group())
    return (squares + _norm(whole) ** 2).sqrt().item()


def _norm(parameters: list[torch.nn.Parameter]) -> torch.Tensor:
    return torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
