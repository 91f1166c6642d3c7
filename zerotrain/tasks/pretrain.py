"""Next-token prediction."""

from __future__ import annotations

import torch
from deepspeed import DeepSpeedEngine
from torch.nn import functional

from zerotrain.data.collate import Batch
from zerotrain.modeling.masks import packed_mask
from zerotrain.tasks.base import SummedLoss

IGNORED = -100
"""Label of a position that is not trained."""


class Pretrain:
    """Predicts the next token of text; documents packed into one sample do not see each other."""

    def __init__(self, attention: str) -> None:
        self._attention = attention

    def loss(self, engine: DeepSpeedEngine, batch: Batch) -> SummedLoss:
        """Returns the cross-entropy summed over all trained positions; labels are already shifted."""
        logits = engine(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            attention_mask=packed_mask(batch.segment_ids, self._attention, next(engine.parameters()).dtype),
            use_cache=False,
        ).logits
        total = functional.cross_entropy(
            logits.flatten(0, 1).float(), batch.labels.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        return SummedLoss(total, torch.count_nonzero(batch.labels != IGNORED))
