"""ZT1: batch, horizon, optimizer, schedule."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, reported_by, rule
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.training import SgdSpec, WarmedSchedule, WsdSchedule
from zerotrain.units import Duration, rounds_to

_ADAPTIVE = ("adam", "adamw", "lion", "lamb", "muon", "nadam", "radam", "rmsprop", "adamax")
_LARGE_ADAPTIVE_LR = 0.1


@reported_by("compiling a spec", "ZT101", "indivisible-global-batch")
def indivisible_global_batch() -> None:
    """The global batch is not a whole number of micro-batches on every data-parallel rank.

    Why: DeepSpeed asserts this identity, after the job has waited for its nodes.
    Wrong: `global_batch_size: 100` with `micro_batch_size: 8` on 8 ranks
    Right: `global_batch_size: 128`, which is 8 x 8 x 2 accumulation steps
    """


@reported_by("compiling a spec", "ZT102", "contradicting-batch")
def contradicting_batch() -> None:
    """Micro-batch, accumulation steps and ranks do not multiply to the global batch.

    Why: one of the numbers is not what you think it is; DeepSpeed refuses the triple.
    Wrong: `{global_batch_size: 32, micro_batch_size: 4, gradient_accumulation_steps: 2}` on 2 ranks
    Right: `gradient_accumulation_steps: auto`
    """


@rule("ZT103", "endless-warmup")
def endless_warmup(case: Case) -> Iterator[Diagnostic]:
    """The warmup is longer than the run.

    Why: the learning rate never reaches its peak, and the decay never begins. DeepSpeed only writes a warning.
    Wrong: `horizon: 200 steps` with `warmup: 1000 steps`
    Right: `warmup: 20 steps`
    """
    schedule, horizon = case.spec.schedule, case.spec.horizon
    warmup = schedule.warmup if isinstance(schedule, WarmedSchedule) else None
    if warmup is None:
        return
    warmup_steps, steps = _steps(case, warmup), case.resolved.steps
    if _exceeds(warmup, horizon) or (warmup_steps and steps and warmup_steps > steps):
        message = f"the warmup of {warmup} is longer than the horizon of {horizon}"
        yield case.error("schedule.warmup", message, help="shorten the warmup or lengthen the horizon")


@rule("ZT104", "idle-interval")
def idle_interval(case: Case) -> Iterator[Diagnostic]:
    """Something is to be done every so often, but the run ends before the first time.

    Why: between start and end nothing would be saved or measured; a fault loses everything.
    Wrong: `horizon: 200 steps` with `save_every: 500 steps`
    Right: `save_every: 50 steps`
    """
    steps = case.resolved.steps
    intervals = {
        "checkpoint.save_every": case.spec.checkpoint.save_every,
        "evaluation.every": case.spec.evaluation.every,
        "export.every": case.spec.export and case.spec.export.every,
        "archive.every": case.spec.archive and case.spec.archive.every,
    }
    for key, interval in intervals.items():
        interval_steps = _steps(case, interval) if interval else None
        if interval and steps and interval_steps and interval_steps > steps:
            message = f"`{key}` is {interval}, but the run has only {steps} steps"
            yield case.warning(key, message, help=f"use at most {max(1, steps // 2)} steps")


@rule("ZT105", "large-learning-rate")
def large_learning_rate(case: Case) -> Iterator[Diagnostic]:
    """The learning rate of an adaptive optimizer is far above any that is in use.

    Why: an exponent without its sign, `3e4` for `3e-4`, is a common slip; the loss diverges within a few steps.
    Wrong: `{type: adamw, lr: 3.0}`
    Right: `{type: adamw, lr: 3.0e-4}`
    """
    optimizer = case.spec.optimizer
    if optimizer.type in _ADAPTIVE and optimizer.lr >= _LARGE_ADAPTIVE_LR:
        message = f"a learning rate of {optimizer.lr:g} is very large for `{optimizer.type}`"
        yield case.warning("optimizer.lr", message, help="usual values lie between 1e-5 and 1e-2")


@rule("ZT106", "nothing-to-evaluate")
def nothing_to_evaluate(case: Case) -> Iterator[Diagnostic]:
    """Evaluation is asked for, but there is no validation data.

    Why: the setting is ignored; the run ends without a validation loss.
    Wrong: `evaluation: {every: 50 steps}` without `data.validation`
    Right: `data: {validation: [{type: python_stdlib, split: validation}]}`
    """
    evaluation = case.spec.evaluation
    if (evaluation.every or evaluation.at_start) and not case.spec.data.validation:
        message = "`evaluation` is ignored: `data.validation` has no sources"
        yield case.warning("evaluation", message, help="add a source to `data.validation`")


@rule("ZT107", "nesterov-without-momentum")
def nesterov_without_momentum(case: Case) -> Iterator[Diagnostic]:
    """Nesterov momentum is switched on with a momentum of 0.

    Why: torch refuses it when the optimizer is built.
    Wrong: `{type: sgd, lr: 0.1, nesterov: true}`
    Right: `{type: sgd, lr: 0.1, momentum: 0.9, nesterov: true}`
    """
    optimizer = case.spec.optimizer
    if isinstance(optimizer, SgdSpec) and optimizer.nesterov and optimizer.momentum == 0:
        yield case.error("optimizer.nesterov", "nesterov needs a momentum", help="add `momentum: 0.9`")


@rule("ZT108", "clipped-muon")
def clipped_muon(case: Case) -> Iterator[Diagnostic]:
    """Muon's updates are clipped instead of its gradient.

    Why: under ZeRO DeepSpeed orthogonalizes while it partitions the gradient, and clips afterwards (DeepSpeed 0.19.8,
    runtime/zero/stage_1_and_2.py). The norm of Muon's updates grows with the size of the model and is far above 1, so
    that `clip_norm: 1.0` shrinks every update many times.
    Wrong: `{optimizer: {type: muon, lr: 0.02, clip_norm: 1.0}, zero: {stage: 2}}`
    Right: `optimizer: {type: muon, lr: 0.02}`
    """
    optimizer, stage = case.spec.optimizer, case.spec.zero.stage
    if optimizer.type == "muon" and optimizer.clip_norm is not None and stage > 0:
        message = f"at ZeRO stage {stage} DeepSpeed clips Muon's updates to {optimizer.clip_norm:g}, not the gradient"
        yield case.warning("optimizer.clip_norm", message, help="remove it: Muon's updates have a norm of their own")


@reported_by("`zerotrain compile`", "ZT109", "uncounted-schedule")
def uncounted_schedule() -> None:
    """A length in epochs leaves the learning rate schedule out of the compiled JSON.

    Why: DeepSpeed's schedulers count steps, and how many an epoch has is known only when the data is prepared. In a
    run of zerotrain's that is no matter; a script that uses the JSON by hand would train at a constant rate.
    Wrong: `horizon: 3 epochs` with `zerotrain compile`
    Right: `horizon: 2000 steps`
    """


def _exceeds(length: Duration, limit: Duration) -> bool:
    return length.unit == limit.unit and length.value > limit.value


def _steps(case: Case, length: Duration) -> int | None:
    """Returns a length in steps where that follows from the spec alone."""
    batch = case.spec.batch.global_batch_size
    per_step = {"steps": 1, "tokens": batch * (case.spec.data.seq_len or 0)}.get(length.unit)
    return -(-length.value // per_step) if per_step else None


@rule("ZT110", "unmet-expectation")
def unmet_expectation(case: Case) -> Iterator[Diagnostic]:
    """The run does not come to what the spec expects of it.

    Why: `expect` is a config's unit test: a batch or a model changed by the way is said before anything starts.
    Wrong: `expect: {global_batch_size: 512}` after `global_batch_size` was halved
    Right: the value restored, or the expectation changed with it
    """
    real = _come_to(case)
    for name, expected in case.spec.expect:
        found = real[name]
        if expected is None or found is None or rounds_to(found, expected):
            continue
        message = f"`{name}` is {found:,}, expected {expected}"
        yield case.error(f"expect.{name}", message, help="restore what it follows from, or change the expectation")


def _come_to(case: Case) -> dict[str, int | None]:
    """Returns what can be expected, by name; None for what is not known before the data is counted."""
    resolved, batch = case.resolved, case.resolved.spec.batch
    steps, accumulation = resolved.steps, batch.gradient_accumulation_steps
    length = case.spec.data.seq_len
    tokens = steps * batch.global_batch_size * length if steps and length else None
    return {
        "world_size": case.topology.world_size,
        "data_parallel_size": case.topology.dp,
        "global_batch_size": batch.global_batch_size,
        "gradient_accumulation_steps": accumulation if isinstance(accumulation, int) else None,
        "steps": steps,
        "tokens": tokens,
        "parameters": case.shape.parameters if case.shape else None,
    }


@rule("ZT153", "overlapping-decay")
def overlapping_decay(case: Case) -> Iterator[Diagnostic]:
    """Warmup and decay together are longer than the run.

    Why: the decay would begin before the warmup has ended, and the peak is never reached or never held.
    Wrong: `horizon: 100 steps` with `schedule: {type: wsd, warmup: 50 steps, decay: 80 steps}`
    Right: `schedule: {type: wsd, warmup: 10 steps, decay: 20 steps}`
    """
    schedule, horizon = case.spec.schedule, case.spec.horizon
    if not isinstance(schedule, WsdSchedule):
        return
    lengths = [length for length in (schedule.warmup, schedule.decay) if length]
    steps, parts = case.resolved.steps, [_steps(case, length) for length in lengths]
    total = sum(part for part in parts if part)
    alike = sum(length.value for length in lengths if length.unit == horizon.unit)
    if alike > horizon.value or (steps and total > steps):
        message = f"{' and '.join(str(length) for length in lengths)} are longer than the horizon of {horizon}"
        yield case.error("schedule.decay", message, help="shorten the decay or lengthen the horizon")


@reported_by("`zerotrain compile`", "ZT155", "unsayable-schedule")
def unsayable_schedule() -> None:
    """DeepSpeed has no scheduler that is near to the schedule.

    Why: its schedulers hold a rate, or fall at once in a line or a cosine. In a run of zerotrain's that is no matter; a
    script that uses the JSON by hand would train at a constant rate.
    Wrong: `schedule: {type: wsd, decay: 20 steps}` with `zerotrain compile`
    Right: `schedule: {type: cosine}`, or a scheduler of torch's in the script
    """


RULES: tuple[Rule, ...] = (
    indivisible_global_batch,
    contradicting_batch,
    endless_warmup,
    idle_interval,
    large_learning_rate,
    nothing_to_evaluate,
    nesterov_without_momentum,
    clipped_muon,
    uncounted_schedule,
    unmet_expectation,
    overlapping_decay,
    unsayable_schedule,
)
