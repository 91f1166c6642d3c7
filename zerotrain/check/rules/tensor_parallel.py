"""ZT4: layers divided over ranks."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.arch.describe import architectures
from zerotrain.arch.sharding import TENSOR_SPLITS, undivided
from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, rule
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.suggest import listed

_TASKS = ("pretrain", "sft")
_BY_MATRIX = ("muon", "lamb", "adafactor")
"""Optimizers whose update of a weight depends on the other weights of its matrix."""


@rule("ZT404", "undivided-heads")
def undivided_heads(case: Case) -> Iterator[Diagnostic]:
    """The heads or the MLP of a layer cannot be divided evenly.

    Why: each tensor-parallel rank computes a share of the heads and of the MLP; DeepSpeed lets ranks without a head
    wait for the others.
    Wrong: `parallel: {tp: 4}` with 2 key-value heads
    Right: a `tp` that divides attention heads, key-value heads and `intermediate_size`
    """
    tp, shape = case.spec.parallel.tp, case.shape
    if tp == 1 or shape is None or shape.architecture not in TENSOR_SPLITS:
        return
    sizes = undivided(shape, tp)
    if sizes:
        message = f"{' and '.join(sizes)} cannot be divided by {tp}"
        yield case.error("parallel.tp", message, help="use a `tp` that divides them all")


@rule("ZT405", "indivisible-model")
def indivisible_model(case: Case) -> Iterator[Diagnostic]:
    """The layers of a model whose division is not known are to be divided.

    Why: which layers are divided, and along which side, is compiled layer by layer; DeepSpeed would guess, and leave
    whole what it does not know.
    Wrong: `parallel: {tp: 2}` with `architecture: gpt2`
    Right: `zero: {stage: 3}`, which divides the weights of any model
    """
    tp, (architecture, _) = case.spec.parallel.tp, case.model
    if tp > 1 and architecture in set(architectures()) - set(TENSOR_SPLITS):
        message = f"`tp: {tp}` cannot divide a `{architecture}`: only {listed(TENSOR_SPLITS, 'and')}"
        yield case.error("parallel.tp", message, help="remove it; `zero.stage: 3` divides the weights of any model")


@rule("ZT406", "whole-layers-needed")
def whole_layers_needed(case: Case) -> Iterator[Diagnostic]:
    """Something needs whole layers, and they are divided.

    Why: Muon, Lamb and Adafactor look at a whole matrix for each of its weights, so a divided one learns something
    else; adapters and averages of the weights know whole layers only; other tasks have not been shown to have the same
    loss.
    Wrong: `{parallel: {tp: 2}, optimizer: {type: muon, lr: 0.02}}`
    Right: AdamW, or `zero: {stage: 3}` instead of `tp`
    """
    spec = case.spec
    if spec.parallel.tp == 1:
        return
    whole = {
        "optimizer.type": f"`{spec.optimizer.type}` needs whole matrices"
        if spec.optimizer.type in _BY_MATRIX
        else None,
        "model.adapter": "an adapter is added to whole layers" if spec.model.adapter else None,
        "ema": "an average is kept of whole weights" if spec.ema else None,
        "task.type": None if spec.task.type in _TASKS else f"`{spec.task.type}` is not available with divided layers",
    }
    for key, fact in whole.items():
        if fact is not None:
            message = f"{fact}, and `tp: {spec.parallel.tp}` divides them"
            yield case.error(key, message, help="remove one of the two; `zero.stage: 3` divides the weights as well")


@rule("ZT407", "tensor-parallel-over-machines")
def tensor_parallel_over_machines(case: Case) -> Iterator[Diagnostic]:
    """The ranks that share a layer are on several machines.

    Why: they talk twice in every layer and wait for each other; between machines that is many times slower than inside
    one.
    Wrong: `{parallel: {tp: 16}, hardware: {gpu: H100-SXM, num_nodes: 2, gpus_per_node: 8}}`
    Right: `tp: 8`, and `pp` or ZeRO over machines
    """
    tp, per_node = case.spec.parallel.tp, case.topology.gpus_per_node
    if tp > 1 and case.topology.num_nodes > 1 and per_node % tp:
        message = f"groups of {tp} ranks do not fit into machines of {per_node}"
        yield case.warning("parallel.tp", message, help="use `tp` inside a machine, and ZeRO between machines")


RULES: tuple[Rule, ...] = (undivided_heads, indivisible_model, whole_layers_needed, tensor_parallel_over_machines)
