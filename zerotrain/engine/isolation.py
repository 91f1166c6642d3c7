"""A look, before the first step, whether documents packed into one sample are really hidden from each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from zerotrain.diagnostic import error
from zerotrain.errors import EngineError

Forward = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Input ids and position ids, each [1, length], to logits [1, length, vocabulary]."""

_LENGTH = 16
_TOLERANCE = 1e-3
_ROUNDINGS = 2
"""Roundings of the dtype, relative to the largest logit, by which the same document in another shape may differ."""


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


def refuse_entangled(
    forward: Callable[[Mapping[str, torch.Tensor]], torch.Tensor], vocabulary: int, device: torch.device
) -> None:
    """Raises EngineError when an encoder sees two documents in one sample otherwise than each alone.

    `forward` takes what a batch has by name, and returns logits [batch, length, vocabulary]. Masks that are ignored
    and positions that do not count from 0 both show. All ranks must call this: it makes two forward passes.
    """
    half = _LENGTH // 2
    ids = torch.randint(vocabulary, (2, half), generator=torch.Generator().manual_seed(0)).to(device)
    segments = torch.arange(2, device=device).repeat_interleave(half)[None]
    positions = torch.arange(half, device=device).repeat(2)[None]
    with torch.no_grad():
        logits = forward({"input_ids": ids})
        alone = logits.float().flatten(0, 1)
        together = forward({"input_ids": ids.view(1, -1), "segment_ids": segments, "position_ids": positions})[0]
    difference = ((together.float() - alone).abs().max() / alone.abs().max()).item()
    if difference > max(_TOLERANCE, _ROUNDINGS * torch.finfo(logits.dtype).eps):
        message = f"documents in one sample predict other tokens than alone, by {difference:.1%} of the largest logit"
        help = "use `packing: concat` or `none`, or another `model.attention`"
        raise EngineError(error("ZT674", "entangled-documents", message, help=help, key="data.packing"))
