"""ZT73: what watches a run: early stopping, the best checkpoint, the average of the weights."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, reported_by, rule
from zerotrain.diagnostic import Diagnostic

_ADD_DATA = "add a source to `data.validation`"
_ADD_EVERY = "add `evaluation.every`"


@rule("ZT730", "blind-early-stopping")
def blind_early_stopping(case: Case) -> Iterator[Diagnostic]:
    """Early stopping is asked for, but nothing is measured on the way.

    Why: without validation data, or with an evaluation only at the end, the run would go on to its last step.
    Wrong: `evaluation: {early_stopping: {patience: 3}}`
    Right: `evaluation: {every: 50 steps, early_stopping: {patience: 3}}` with sources in `data.validation`
    """
    if case.spec.evaluation.early_stopping is None:
        return
    key = "evaluation.early_stopping"
    if not case.spec.data.validation:
        yield case.error(key, "training cannot stop early: `data.validation` has no sources", help=_ADD_DATA)
    elif case.spec.evaluation.every is None:
        yield case.error(key, "training cannot stop early: only its last step is evaluated", help=_ADD_EVERY)


@rule("ZT731", "blind-keep-best")
def blind_keep_best(case: Case) -> Iterator[Diagnostic]:
    """The best checkpoint is to be kept, but nothing tells which is the best.

    Why: without validation data no checkpoint is ever the best; with an evaluation only at the end it is the last.
    Wrong: `checkpoint: {keep_best: {metric: loss}}` without `evaluation.every`
    Right: `evaluation: {every: 50 steps}` with sources in `data.validation`
    """
    if case.spec.checkpoint.keep_best is None:
        return
    key = "checkpoint.keep_best"
    if not case.spec.data.validation:
        yield case.warning(key, "no checkpoint can be the best: `data.validation` has no sources", help=_ADD_DATA)
    elif case.spec.evaluation.every is None:
        yield case.warning(key, "the best checkpoint is the last: only that step is evaluated", help=_ADD_EVERY)


@reported_by("the first evaluation", "ZT732", "unknown-metric")
def unknown_metric() -> None:
    """Early stopping or the best checkpoint goes by a metric that the evaluation does not report.

    Why: which metrics there are depends on the task; a run that waits for another one would never stop.
    Wrong: `early_stopping: {metric: eval_loss}`
    Right: `early_stopping: {metric: loss}`
    """


@reported_by("exporting", "ZT733", "no-best-checkpoint")
def no_best_checkpoint() -> None:
    """The best checkpoint is to be exported, and there is none.

    Why: which is the best is known only of a run that keeps it, once it has been evaluated.
    Wrong: `zerotrain export RUN -o DIR --checkpoint best` of a run without `checkpoint.keep_best`
    Right: `--checkpoint step-200`, or a run with `keep_best`
    """


@rule("ZT734", "unkept-best")
def unkept_best(case: Case) -> Iterator[Diagnostic]:
    """The best checkpoint is to be exported, but it is not kept, or nothing tells which it is.

    Why: the checkpoint of the best evaluation may never be saved, or be removed for newer ones.
    Wrong: `export: {checkpoint: best}` without `checkpoint.keep_best`
    Right: `checkpoint: {keep_best: {metric: loss}}`
    """
    export = case.spec.export
    if export is None or export.checkpoint != "best":
        return
    message = "the best checkpoint cannot be exported: "
    if case.spec.checkpoint.keep_best is None:
        help = "add `checkpoint: {keep_best: {metric: loss}}`"
        yield case.error("export.checkpoint", f"{message}`checkpoint.keep_best` is not set", help=help)
    elif not case.spec.data.validation:
        yield case.error("export.checkpoint", f"{message}`data.validation` has no sources", help=_ADD_DATA)


@rule("ZT735", "endless-patience")
def endless_patience(case: Case) -> Iterator[Diagnostic]:
    """The run ends before early stopping could stop it.

    Why: the first evaluation always counts as an improvement; then as many follow as `patience` says.
    Wrong: `horizon: 200 steps` with `evaluation: {every: 50 steps, early_stopping: {patience: 4}}`
    Right: `evaluation: {every: 20 steps, early_stopping: {patience: 4}}`
    """
    stopping = case.spec.evaluation.early_stopping
    if stopping is None:
        return
    every, steps = case.resolved.spec.evaluation.every, case.resolved.steps
    if every is None or every.unit != "steps" or steps is None:
        return
    earliest = every.value * (1 + stopping.patience)
    if earliest >= steps:
        message = f"training could stop early after {earliest} steps at the soonest, but the run has only {steps}"
        yield case.warning("evaluation.early_stopping", message, help="evaluate more often, or with less patience")


@rule("ZT736", "averaged-nvme")
def averaged_nvme(case: Case) -> Iterator[Diagnostic]:
    """The weights are to be averaged, but lie on NVMe.

    Why: the average is taken of the optimizer's weights after every update, in memory.
    Wrong: `ema: {decay: 0.999}` with `zero: {stage: 3, offload_optimizer: {device: nvme, nvme_path: /nvme}}`
    Right: `ema: {decay: 0.999}` with `zero: {stage: 3, offload_optimizer: {device: cpu}}`
    """
    for name in ("offload_optimizer", "offload_param"):
        offload = getattr(case.spec.zero, name)
        if case.spec.ema is not None and offload is not None and offload.device == "nvme":
            message = f"weights on NVMe cannot be averaged: `zero.{name}` says `nvme`"
            yield case.error("ema", message, help="offload to `cpu`, or remove `ema`")


@rule("ZT737", "unevaluated-average")
def unevaluated_average(case: Case) -> Iterator[Diagnostic]:
    """The average of the weights is to be evaluated, but there is no validation data.

    Why: the setting is ignored; whether the average is better than the weights stays unknown.
    Wrong: `ema: {evaluate: true}` without `data.validation`
    Right: `ema: {evaluate: true}` with sources in `data.validation`
    """
    if case.spec.ema is not None and case.spec.ema.evaluate and not case.spec.data.validation:
        yield case.warning("ema.evaluate", "it is ignored: `data.validation` has no sources", help=_ADD_DATA)


@rule("ZT738", "unaveraged-export")
def unaveraged_export(case: Case) -> Iterator[Diagnostic]:
    """The average of the weights is to be exported, but none is kept.

    Why: the average follows the weights during training and cannot be made afterwards.
    Wrong: `export: {weights: ema}` without an `ema` section
    Right: `ema: {decay: 0.999}`
    """
    export = case.spec.export
    if export is not None and export.weights == "ema" and case.spec.ema is None:
        yield case.error("export.weights", "there is no average to export: `ema` is null", help="add an `ema` section")


@reported_by("exporting", "ZT739", "no-average")
def no_average() -> None:
    """The average of the weights is to be exported of a run that keeps none.

    Why: the average follows the weights during training and cannot be made afterwards.
    Wrong: `zerotrain export RUN -o DIR --weights ema` of a run without `ema`
    Right: `--weights model`
    """


RULES: tuple[Rule, ...] = (
    blind_early_stopping,
    blind_keep_best,
    unknown_metric,
    no_best_checkpoint,
    unkept_best,
    endless_patience,
    averaged_nvme,
    unevaluated_average,
    unaveraged_export,
    no_average,
)
