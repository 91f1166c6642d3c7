"""ZT4: long sequences in pieces."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.arch.describe import architectures
from zerotrain.arch.tiling import TILED_HEADS, TILED_MLPS
from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, rule
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.suggest import listed

_TASKS = ("pretrain", "sft")


@rule("ZT450", "cannot-be-tiled")
def cannot_be_tiled(case: Case) -> Iterator[Diagnostic]:
    """Something is to be computed in pieces that cannot be.

    Why: experts have a capacity, and a balance to keep, for all tokens of a batch and not for a piece of it. The head
    gives a loss in place of logits only to tasks that need nothing else of them, and in a model that is one module: the
    last stage of a pipeline hands its logits to DeepSpeed.
    Wrong: `{parallel: {pp: 2}, tiling: {logits: 8}}`
    Right: `{parallel: {sp: 2}, tiling: {logits: 8}}`
    """
    for what, facts in (("mlp", _of_mlps(case)), ("logits", _of_logits(case))):
        if getattr(case.spec.tiling, what) > 1:
            for fact in facts:
                message = f"{what} cannot be computed in pieces {fact}"
                yield case.error(f"tiling.{what}", message, help=f"remove `{what}` here")


def _of_mlps(case: Case) -> Iterator[str]:
    architecture, _ = case.model
    if architecture in set(architectures()) - TILED_MLPS.keys():
        yield f"in a `{architecture}`, only in {listed(sorted(TILED_MLPS), 'and')}"
    if case.spec.moe is not None:
        yield "with `moe`"


def _of_logits(case: Case) -> Iterator[str]:
    (architecture, _), task = case.model, case.spec.task.type
    if task not in _TASKS:
        yield f"for `{task}`, only for {listed(_TASKS, 'and')}"
    elif architecture in set(architectures()) - TILED_HEADS:
        yield f"in a `{architecture}`, only in {listed(sorted(TILED_HEADS), 'and')}"
    if case.spec.parallel.pp > 1:
        yield f"with `pp: {case.spec.parallel.pp}`"


@rule("ZT451", "more-tiles-than-tokens")
def more_tiles_than_tokens(case: Case) -> Iterator[Diagnostic]:
    """A sequence is to be cut into more pieces than it has tokens.

    Why: a piece has at least one token. Pieces of less than some hundred tokens make no use of a GPU, and each fetches
    the weights at ZeRO stage 3.
    Wrong: `{data: {seq_len: 1024}, tiling: {mlp: 2048}}`
    Right: `{data: {seq_len: 1024}, tiling: {mlp: 2}}`
    """
    length = case.spec.data.seq_len
    own = None if length is None else length // case.spec.parallel.sp
    for what in ("mlp", "logits"):
        if own is not None and (tiles := getattr(case.spec.tiling, what)) > own:
            message = f"{tiles} pieces are more than the {own} tokens that a rank has of a sample"
            yield case.error(f"tiling.{what}", message, help="use fewer")


@rule("ZT452", "computed-again-twice")
def computed_again_twice(case: Case) -> Iterator[Diagnostic]:
    """MLPs are computed in pieces, and by themselves again in the backward pass.

    Why: pieces are computed again in any case; with `parts: [mlp]` too an MLP is computed three times, and nothing is
    saved.
    Wrong: `{tiling: {mlp: 4}, activation_checkpointing: {granularity: selective, parts: [mlp]}}`
    Right: `{tiling: {mlp: 4}}`
    """
    chosen = case.spec.activation_checkpointing
    if case.spec.tiling.mlp > 1 and chosen.granularity == "selective" and "mlp" in chosen.parts:
        message = "`tiling.mlp` computes MLPs again already"
        yield case.warning("activation_checkpointing.parts", message, help="leave `mlp` out")


RULES: tuple[Rule, ...] = (cannot_be_tiled, more_tiles_than_tokens, computed_again_twice)
