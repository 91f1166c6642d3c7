"""Samples as tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from zerotrain.data.store import SampleStore


@dataclass(frozen=True)
class Batch:
    """Samples on top of each other: int64 tensors [samples, seq_len]."""

    input_ids: torch.Tensor
    labels: torch.Tensor
    """The token to predict at each input, already shifted; -100 where nothing is predicted."""
    position_ids: torch.Tensor
    """Counted from 0 in each segment, and in the padding."""
    segment_ids: torch.Tensor
    """Counted from 0 in each sample; -1 at padding. Positions see each other where it is the same."""

    def to(self, device: torch.device | str) -> Batch:
        """Returns the same batch on a device."""
        tensors = (self.input_ids, self.labels, self.position_ids, self.segment_ids)
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in tensors))


def collate(store: SampleStore, indices: npt.NDArray[np.int64], rows: int) -> Batch:
    """Returns the samples with these indices, and below them samples of nothing but padding up to `rows`."""
    samples = store.samples(indices, rows=rows)
    arrays = (samples.input_ids, samples.labels, samples.position_ids, samples.segment_ids)
    return Batch(*(torch.from_numpy(array) for array in arrays))
