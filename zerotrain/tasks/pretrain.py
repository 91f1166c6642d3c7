"""Next-token prediction."""

from __future__ import annotations

import torch
from deepspeed import DeepSpeedEngine
from torch.nn import functional

from zerotrain.data.collate import Batch
from zerotrain.data.store import IGNORED
from zerotrain.tasks.base import SummedLoss


class Pretrain:
    """Predicts the next token of text.

    Positions start at 0 in every document of a sample; from that transformers makes masks under which documents do
    not see each other, with a model's sliding window where it has one.
    """

    def logits(self, engine: DeepSpeedEngine, input_ids: torch.Tensor, position_ids: torch.Tensor) -> torch.Tensor:
        """Returns [batch, length, vocabulary] for ids and positions [batch, length]."""
        return engine(input_ids=input_ids, position_ids=position_ids, use_cache=False).logits

    def loss(self, engine: DeepSpeedEngine, batch: Batch) -> SummedLoss:
        """Returns the cross-entropy summed over all trained positions; labels are already shifted."""
        logits = self.logits(engine, batch.input_ids, batch.position_ids)
        total = functional.cross_entropy(
            logits.flatten(0, 1).float(), batch.labels.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        return SummedLoss(total, torch.count_nonzero(batch.labels != IGNORED))
