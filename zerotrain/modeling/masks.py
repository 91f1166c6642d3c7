"""Attention masks for samples that hold several documents."""

from __future__ import annotations

import torch


def packed_mask(segment_ids: torch.Tensor, implementation: str, dtype: torch.dtype) -> torch.Tensor | None:
    """Returns a mask under which every token sees the earlier tokens of its own segment and nothing else.

    `segment_ids` has shape [batch, length]; padding has a number of its own. The mask has shape
    [batch, 1, length, length]: true where attention is allowed for `sdpa`, 0 or the lowest number for `eager`. It is
    None for `flash_attention_2`, which reads segments from the positions, and where every sample is one segment, whose
    mask is the causal one that every implementation knows.
    """
    if implementation == "flash_attention_2" or bool((segment_ids == segment_ids[:, :1]).all()):
        return None
    length = segment_ids.shape[1]
    same = segment_ids[:, None, :, None] == segment_ids[:, None, None, :]
    allowed = same & torch.ones(length, length, dtype=torch.bool, device=segment_ids.device).tril()
    if implementation == "sdpa":
        return allowed
    return torch.zeros_like(allowed, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)
