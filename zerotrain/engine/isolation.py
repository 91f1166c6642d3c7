"""A look, before the first step, whether documents packed into one sample are really hidden from each other."""

from __future__ import annotations

from collections.abc import Callable

import torch

from zerotrain.diagnostic import error
from zerotrain.errors import EngineError

Forward = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Input ids and position ids, each [1, length], to logits [1, length, vocabulary]."""

_LENGTH = 16
_TOLERANCE = 1e-3


def refuse_leaks(forward: Forward, vocabulary: int, device: torch.device) -> None:
    """Raises EngineError when what a token predicts depends on a document before its own.

    Transformers reads the borders of documents from the positions, which start at 0 in each; an architecture that
    does not would train on its neighbours without a word. All ranks must call this: it makes two forward passes.
    """
    half = _LENGTH // 2
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary, (1, _LENGTH), generator=draw)
    others = ids.clone()
    others[:, :half] = (ids[:, :half] + 1 + torch.randint(vocabulary - 1, (1, half), generator=draw)) % vocabulary
    positions = torch.arange(half).repeat(2)[None].to(device)
    with torch.no_grad():
        before, after = (forward(variant.to(device), positions)[:, half:].float() for variant in (ids, others))
    leak = ((before - after).abs().max() / before.abs().max()).item()
    if leak > _TOLERANCE:
        message = f"a document changes what the next one in its sample predicts, by {leak:.1%} of the largest logit"
        help = "use `packing: concat` or `none`, or another `model.attention`"
        raise EngineError(error("ZT807", "leaking-documents", message, help=help, key="data.packing"))
