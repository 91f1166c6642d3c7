"""ZT76, ZT77: what is done when training goes wrong."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, reported_by, rule
from zerotrain.diagnostic import Diagnostic


@reported_by("a rank", "ZT760", "nonfinite-update")
def nonfinite_update() -> None:
    """The loss or the gradient of a step is no finite number.

    Why: one such update makes every weight a NaN. It is never applied; the batch is named, by its samples and its hash,
    and so are the ranks whose part of it had the bad loss.
    Wrong: a learning rate that makes training diverge, or a damaged record
    Right: the batch looked at, and then `health: {nonfinite: {action: skip, budget: 10}}` to go on without it
    """


@reported_by("a rank", "ZT762", "loss-spike")
def loss_spike() -> None:
    """The loss has leapt far above those of the updates before.

    Why: a bad batch or too large a step can cost more than the updates since the last checkpoint.
    Wrong: a run that nobody looks at
    Right: `health: {loss_spike: {action: rollback}}`, which goes on from the last checkpoint without the batch
    """


@reported_by("a rank", "ZT763", "loss-scale-at-floor")
def loss_scale_at_floor() -> None:
    """Gradients overflow in fp16 though the loss scale is as small as it gets.

    Why: above its smallest value the scale falls and the next update succeeds; at it, no further update may ever.
    Wrong: `precision: fp16` for a model that was trained in bf16
    Right: `precision: bf16`, or a lower learning rate
    """


@reported_by("saving a checkpoint", "ZT764", "nonfinite-weights")
def nonfinite_weights() -> None:
    """Weights of the model are not finite, and are not saved.

    Why: a checkpoint of them would take the place of one that is good.
    Wrong: `optimizer: {type: sgd, lr: 1e30}`
    Right: a lower learning rate; the run resumes from a checkpoint before
    """


@reported_by("a rank", "ZT767", "rolled-back")
def rolled_back() -> None:
    """The run goes on from its last checkpoint, without the batch at which the loss leapt.

    Why: `health.loss_spike.action` is `rollback`. With `local` and `deepspeed` the ranks start again by themselves, and
    this does not count as a restart.
    Wrong: `zerotrain train SPEC --fresh` after a spike
    Right: `zerotrain resume RUN`
    """


@rule("ZT770", "rollback-to-the-start")
def rollback_to_the_start(case: Case) -> Iterator[Diagnostic]:
    """A spike rolls the run back, but there is no checkpoint on the way.

    Why: without `checkpoint.save_every` only the last step is saved, and a run that is rolled back begins again.
    Wrong: `health: {loss_spike: {action: rollback}}` alone
    Right: `checkpoint: {save_every: 100 steps}` beside it
    """
    spikes = case.spec.health.loss_spike
    if spikes is not None and spikes.action == "rollback" and case.spec.checkpoint.save_every is None:
        message = "a spike would roll the run back to its start: `checkpoint.save_every` is null"
        yield case.warning("health.loss_spike.action", message, help="add `checkpoint.save_every`")


@rule("ZT771", "idle-spike-watch")
def idle_spike_watch(case: Case) -> Iterator[Diagnostic]:
    """Spikes are looked for only after the run has ended.

    Why: a loss is compared with those before once half of the window is there.
    Wrong: `health: {loss_spike: {window: 1000}}` for `horizon: 200 steps`
    Right: `window: 100`
    """
    spikes, horizon = case.spec.health.loss_spike, case.spec.horizon
    if spikes is not None and horizon.unit == "steps" and spikes.window >= 2 * horizon.value:
        message = f"the first loss that is looked at is that of step {(spikes.window + 1) // 2 + 1}, after the last"
        yield case.warning("health.loss_spike.window", message, help=f"use at most {horizon.value}")


RULES: tuple[Rule, ...] = (
    nonfinite_update,
    loss_spike,
    loss_scale_at_floor,
    nonfinite_weights,
    rolled_back,
    rollback_to_the_start,
    idle_spike_watch,
)
