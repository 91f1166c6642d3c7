"""Sums over all ranks."""

from __future__ import annotations

import torch
import torch.distributed as dist


def sum_over_ranks(value: torch.Tensor) -> torch.Tensor:
    """Returns the sum of a tensor over all ranks; every rank must call this."""
    dist.all_reduce(value)
    return value


def any_rank(flag: bool, device: torch.device) -> bool:
    """Tells whether the flag is set on any rank; every rank must call this."""
    return bool(sum_over_ranks(torch.tensor(int(flag), device=device)).item())
