"""Long sequences: MLPs and the head work on one piece of a sequence after the other.

Nothing in an MLP, and nothing between the last hidden states and the loss, looks at another token. So only one piece's
activations need to exist at a time, if each piece is computed again in the backward pass: the tiled MLP and loss of
Bekman et al., Arctic Long Sequence Training, arXiv 2506.13996. DeepSpeed 0.19.8 has both, but its
`TiledFusedLogitsLoss` runs the backward pass inside the forward one, where the scale of the loss is not known yet
(runtime/sequence_parallel/ulysses_sp.py), so that micro-batches with different numbers of targets, and fp16, would get
another gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from zerotrain.arch.tiling import TILED_HEADS, TILED_MLPS
from zerotrain.diagnostic import error
from zerotrain.errors import EngineError

_SEQUENCE = 1
"""Dimension of hidden states [batch, length, hidden] that is cut."""

Judge = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Logits [batch, piece, vocabulary] and labels [batch, piece] to their loss, summed."""


def tile_mlps(model: PreTrainedModel, tiles: int) -> None:
    """Lets every MLP work in so many pieces; raises EngineError where it is not known which modules those are."""
    name = TILED_MLPS.get(model.config.model_type)
    found = [module for path, module in model.named_modules() if path.rpartition(".")[2] == name]
    if not found:
        raise _cannot(model, "mlp")
    for module in found:
        module.forward = wraps(module.forward)(partial(_in_pieces, module.forward, tiles))


def _in_pieces(compute: Callable[[torch.Tensor], torch.Tensor], tiles: int, hidden: torch.Tensor) -> torch.Tensor:
    def of_piece(piece: torch.Tensor) -> torch.Tensor:
        return compute(piece.contiguous())

    pieces: list[Any] = [checkpoint(of_piece, piece, use_reentrant=False) for piece in hidden.chunk(tiles, _SEQUENCE)]
    return torch.cat(pieces, _SEQUENCE)


class TiledHead:
    """Stands for the `forward` of a head: where labels are expected, it returns a loss, piece by piece, and no logits.

    It is called in the model's own forward pass, where stage 3 of ZeRO has gathered the weight.
    """

    def __init__(self, logits: Callable[[torch.Tensor], torch.Tensor], tiles: int) -> None:
        self._logits, self._tiles = logits, tiles
        self._expected: tuple[torch.Tensor, Judge] | None = None

    @contextmanager
    def expecting(self, labels: torch.Tensor, judge: Judge) -> Generator[None]:
        """Lets the next forward passes of the model return the loss for labels [batch, length] in place of logits."""
        self._expected = labels, judge
        try:
            yield
        finally:
            self._expected = None

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """Returns logits [batch, length, vocabulary], or a scalar loss."""
        if self._expected is None:
            return self._logits(hidden)
        labels, judge = self._expected
        losses: list[Any] = [
            checkpoint(self._judged, judge, *piece, use_reentrant=False)
            for piece in zip(hidden.chunk(self._tiles, _SEQUENCE), labels.chunk(self._tiles, _SEQUENCE), strict=True)
        ]
        return torch.stack(losses).sum()

    def _judged(self, judge: Judge, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return judge(self._logits(hidden.contiguous()), labels)


def tile_head(model: Any, tiles: int) -> None:
    """Lets the head work in so many pieces where labels are expected.

    `model` is the one inside the engine: DeepSpeed may have put another head in the place of the model's own. Raises
    EngineError when logits are not simply what the head makes of hidden states.
    """
    if model.config.model_type not in TILED_HEADS:
        raise _cannot(model, "logits")
    head = model.get_output_embeddings()
    head.forward = TiledHead(head.forward, tiles)


def tiled_head(model: nn.Module) -> TiledHead | None:
    """Returns the head that works in pieces; None in a model without one."""
    if not hasattr(model, "get_output_embeddings"):
        return None
    head: Any = model.get_output_embeddings()  # pyright: ignore[reportCallIssue]
    return head.forward if isinstance(getattr(head, "forward", None), TiledHead) else None


def _cannot(model: nn.Module, what: str) -> EngineError:
    message = f"the `{what}` of a `{type(model).__name__}` cannot be computed in pieces"
    return EngineError(error("ZT803", "engine-differs", message, help="remove it", key=f"tiling.{what}"))
