"""Samples as tensors."""

from __future__ import annotations

import torch

from zerotrain.data.stores.base import Arrays


class Batch(dict[str, torch.Tensor]):
    """Samples on top of each other, by the names the task knows; the first dimension of each tensor counts them."""

    @classmethod
    def of(cls, arrays: Arrays) -> Batch:
        """Returns the arrays as tensors that share their memory."""
        return cls({name: torch.from_numpy(array) for name, array in arrays.items()})

    def stretch(self, number: int, of: int) -> Batch:
        """Returns one of several equal parts of every sample; each tensor is [samples, length]."""
        return Batch({name: tensor.chunk(of, dim=1)[number].contiguous() for name, tensor in self.items()})

    def to(self, device: torch.device | str) -> Batch:
        """Returns the same batch on a device."""
        return Batch({name: tensor.to(device, non_blocking=True) for name, tensor in self.items()})
