"""ZT4: models divided into stages."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.arch.describe import architectures
from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, rule
from zerotrain.compile.pipeline import too_many_stages, undividable
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.run import RunSpec

_TASKS = ("pretrain", "sft")
"""The tasks whose loss needs the logits of one pass, and nothing else."""


@rule("ZT410", "pipeline-at-a-late-stage")
def pipeline_at_a_late_stage(case: Case) -> Iterator[Diagnostic]:
    """A pipeline is to be trained with ZeRO stage 2 or 3.

    Why: a stage of the pipeline adds up the gradients of many micro-batches, which stage 2 would send away after each;
    DeepSpeed's pipeline engine refuses both, after it has built the whole optimizer.
    Wrong: `{parallel: {pp: 2}, zero: {stage: 2}}`
    Right: `{parallel: {pp: 2}, zero: {stage: 1}}`
    """
    pp, stage = case.spec.parallel.pp, case.spec.zero.stage
    if pp > 1 and stage > 1:
        message = f"`pp: {pp}` works with ZeRO stages 0 and 1, not with {stage}"
        yield case.error("zero.stage", message, help="use `stage: 1`, or remove `parallel.pp`")


@rule("ZT411", "undividable-model")
def undividable_model(case: Case) -> Iterator[Diagnostic]:
    """A model of which no pipeline can be made is to be divided into stages.

    Why: a pipeline is made of the parts of a decoder, and these must be known by name.
    Wrong: `parallel: {pp: 2}` with `architecture: mixtral`
    Right: `zero: {stage: 3}`, which divides the weights of any model
    """
    pp, (architecture, _) = case.spec.parallel.pp, case.model
    wrong = undividable(architecture, pp) if architecture in architectures() else None
    if wrong is not None:
        yield case.error("parallel.pp", wrong[0], help=wrong[1])


@rule("ZT412", "too-many-stages")
def stages_without_a_layer(case: Case) -> Iterator[Diagnostic]:
    """There are more stages than layers.

    Why: each stage needs a decoder layer of its own to have something to do while the others work.
    Wrong: `parallel: {pp: 8}` with 4 layers
    Right: `parallel: {pp: 4}` with 4 layers
    """
    shape = case.shape
    wrong = too_many_stages(shape.num_layers, case.spec.parallel.pp) if shape is not None else None
    if wrong is not None:
        yield case.error("parallel.pp", wrong[0], help=wrong[1])


@rule("ZT413", "undivided-model-needed")
def undivided_model_needed(case: Case) -> Iterator[Diagnostic]:
    """Something is asked for that is not available when the model is divided into stages.

    Why: a rank has a part of the layers. Adapters, averages, frozen weights and groups of weights are made for whole
    models; at ZeRO stage 0 in bf16 DeepSpeed takes an optimizer that partitions its states all the same, and adds
    gradients up in bf16. Other tasks, Muon, fp16, offload and DeepSpeed's activation checkpointing have not been shown
    to have the same loss.
    Wrong: `{parallel: {pp: 2}, ema: {decay: 0.99}}`
    Right: the same without `ema`, or with `zero: {stage: 3}` instead of `pp`
    """
    if case.spec.parallel.pp > 1:
        for key, fact in _not_available(case.spec):
            message = f"{fact} with `pp: {case.spec.parallel.pp}`"
            help = "use `zero.stage: 1`" if key == "precision.dtype" and "stage 0" in fact else "remove one of the two"
            yield case.error(key, message, help=help)


def _not_available(spec: RunSpec) -> Iterator[tuple[str, str]]:
    if spec.task.type not in _TASKS:
        yield "task.type", f"`{spec.task.type}` is not available"
    for key, is_asked in {
        "model.adapter": spec.model.adapter is not None,
        "model.freeze": bool(spec.model.freeze),
        "optimizer.groups": bool(spec.optimizer.groups),
        "ema": spec.ema is not None,
        "zero.offload_optimizer": spec.zero.offload_optimizer is not None,
    }.items():
        if is_asked:
            yield key, f"`{key.rpartition('.')[2]}` is not available"
    if spec.optimizer.type == "muon":
        yield "optimizer.type", "`muon` is not available"
    if spec.precision.dtype == "fp16" or (spec.precision.dtype == "bf16" and spec.zero.stage == 0):
        where = " at ZeRO stage 0" if spec.precision.dtype == "bf16" else ""
        yield "precision.dtype", f"`{spec.precision.dtype}`{where} is not available"
    recompute = spec.activation_checkpointing
    if recompute.granularity != "none" and recompute.implementation == "deepspeed":
        yield "activation_checkpointing.implementation", "DeepSpeed's activation checkpointing is not available"


@rule("ZT414", "idle-stages")
def idle_stages(case: Case) -> Iterator[Diagnostic]:
    """There are fewer micro-batches in a step than stages.

    Why: stages work on different micro-batches at the same time. With m of them and p stages each stage waits for
    (p - 1) / (m + p - 1) of a step (Huang et al., GPipe, NeurIPS 2019): with m = p for nearly half of it.
    Wrong: `{parallel: {pp: 4}, batch: {global_batch_size: 2, micro_batch_size: 1}}` on 4 ranks
    Right: `{parallel: {pp: 4}, batch: {global_batch_size: 16, micro_batch_size: 1}}` on 4 ranks
    """
    pp, count = case.topology.pp, case.resolved.spec.batch.gradient_accumulation_steps
    if pp > 1 and isinstance(count, int) and 0 < count < pp:
        idle = (pp - 1) / (count + pp - 1)
        message = f"gradient accumulation of {count} leaves {pp} stages waiting for {idle:.0%} of a step"
        yield case.info("batch", message, help="use smaller micro-batches or a larger global batch")


@rule("ZT415", "late-reduction")
def late_reduction(case: Case) -> Iterator[Diagnostic]:
    """Gradients are to be reduced during the backward passes of a pipeline.

    Why: a pipeline reduces them once, after its last micro-batch; DeepSpeed sets `overlap_comm` to false by itself,
    with a line in the log.
    Wrong: `{parallel: {pp: 2}, zero: {stage: 1, overlap_comm: true}}`
    Right: `{parallel: {pp: 2}, zero: {stage: 1}}`
    """
    if case.spec.parallel.pp > 1 and case.spec.zero.overlap_comm is True:
        message = f"`overlap_comm` does nothing with `pp: {case.spec.parallel.pp}`"
        yield case.warning("zero.overlap_comm", message, help="remove it")


RULES: tuple[Rule, ...] = (
    pipeline_at_a_late_stage,
    undividable_model,
    stages_without_a_layer,
    undivided_model_needed,
    idle_stages,
    late_reduction,
)
