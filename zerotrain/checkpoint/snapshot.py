"""Copies of states in host memory."""

from __future__ import annotations

from collections import OrderedDict
from copy import deepcopy
from typing import Any

import torch


def host_copy(value: Any, copies: dict[tuple[Any, ...], torch.Tensor] | None = None) -> Any:
    """Returns a copy of a state that training does not change, its tensors in host memory.

    Tensors that are one, such as tied weights, stay one.
    """
    copies = {} if copies is None else copies
    if isinstance(value, torch.Tensor):
        key = value.data_ptr(), value.dtype, tuple(value.shape), value.stride()
        if key not in copies or value.numel() == 0:
            copies[key] = value.detach().to("cpu", copy=True)
        return copies[key]
    if type(value) in (dict, OrderedDict):
        return type(value)((key, host_copy(entry, copies)) for key, entry in value.items())
    if type(value) in (list, tuple):
        return type(value)(host_copy(entry, copies) for entry in value)
    return deepcopy(value)
