"""What tasks that predict the next token share."""

from __future__ import annotations

from typing import Any

import torch

from zerotrain.tasks.base import Model


class NextToken:
    """A task whose model predicts the next token of text.

    Positions start at 0 in every document of a sample; from that transformers makes masks under which documents do
    not see each other, with a model's sliding window where it has one.
    """

    def logits(self, model: Model, input_ids: torch.Tensor, position_ids: torch.Tensor) -> torch.Tensor:
        """Returns [batch, length, vocabulary] for ids and positions [batch, length]."""
        return self.output(model, input_ids, position_ids).logits

    def output(self, model: Model, input_ids: torch.Tensor, position_ids: torch.Tensor) -> Any:
        """Returns all that transformers returns."""
        return model(input_ids=input_ids, position_ids=position_ids, use_cache=False)
