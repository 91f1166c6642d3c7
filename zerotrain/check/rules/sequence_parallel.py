"""ZT4: sequences divided over ranks."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.arch.describe import architectures
from zerotrain.arch.sharding import SEQUENCE_PARALLEL
from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, rule
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.suggest import listed

_TASKS = ("pretrain", "sft")


@rule("ZT408", "undivided-sequence")
def undivided_sequence(case: Case) -> Iterator[Diagnostic]:
    """A sequence, or the heads of attention, cannot be divided evenly.

    Why: each rank of a group has an equal stretch of every sample; for attention it has an equal share of the heads.
    Wrong: `{parallel: {sp: 4}, data: {seq_len: 1023}}`
    Right: an `sp` that divides `seq_len` and the attention heads
    """
    sp, length, shape = case.spec.parallel.sp, case.spec.data.seq_len, case.shape
    if sp == 1 or shape is None or shape.architecture not in SEQUENCE_PARALLEL:
        return
    sizes = {"tokens of a sample": length or sp, "attention heads": shape.num_attention_heads}
    uneven = [f"{size} {name}" for name, size in sizes.items() if size % sp]
    key_value = shape.num_key_value_heads
    uneven += [f"{key_value} key-value heads"] if key_value % sp and sp % key_value else []
    if uneven:
        message = f"{' and '.join(uneven)} cannot be divided by {sp}"
        yield case.error("parallel.sp", message, help="use an `sp` that divides them all")


@rule("ZT409", "whole-sequences-needed")
def whole_sequences_needed(case: Case) -> Iterator[Diagnostic]:
    """Something needs whole sequences, and they are divided.

    Why: attention exchanges heads for stretches in architectures that hand positions to it, and with kinds of attention
    that need no mask from outside; other tasks compare or classify whole samples.
    Wrong: `{parallel: {sp: 2}, model: {attention: eager}}`
    Right: `attention: sdpa` or `flash_attention_2`, and `task: {type: pretrain}` or `sft`
    """
    spec, (architecture, _) = case.spec, case.model
    sp = spec.parallel.sp
    if sp == 1:
        return
    known, task = f"only {listed(sorted(SEQUENCE_PARALLEL), 'and')} can", spec.task.type
    is_unfit = architecture in set(architectures()) - SEQUENCE_PARALLEL
    others = [axis for axis in ("tp", "pp") if getattr(spec.parallel, axis) > 1]
    whole = {
        "model.architecture": f"a `{architecture}` cannot divide its sequences, {known}" if is_unfit else None,
        "model.attention": "`eager` attention needs a mask from outside" if spec.model.attention == "eager" else None,
        "task.type": None if task in _TASKS else f"`{task}` is not available with divided sequences",
        **{f"parallel.{axis}": f"`{axis}` is not available together with `sp`" for axis in others},
    }
    for key, fact in whole.items():
        if fact is not None:
            yield case.error(key, f"{fact}, and `sp` is {sp}", help="remove one of the two")


RULES: tuple[Rule, ...] = (undivided_sequence, whole_sequences_needed)
