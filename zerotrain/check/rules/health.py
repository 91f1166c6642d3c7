"""ZT76, ZT77: what is done when training goes wrong."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, reported_by, rule
from zerotrain.diagnostic import Diagnostic
from zerotrain.units import TimeSpan


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


@reported_by("a rank", "ZT766", "hung-rank")
def hung_rank() -> None:
    """A rank has not moved for longer than it may.

    Why: the other ranks wait for it in a collective operation, for ever or until the process group gives up without a
    name. Every rank writes its stack to its log; the one that does not wait for others, or does not answer, is named.
    Wrong: a data set on a file system that hangs, a process that is stopped, a machine that is gone
    Right: the rank's log and machine looked at; with `launch.max_restarts` the run goes on by itself
    """


@reported_by("a rank", "ZT767", "rolled-back")
def rolled_back() -> None:
    """The run goes on from its last checkpoint, without the batch at which the loss leapt.

    Why: `health.loss_spike.action` is `rollback`. With `local` and `deepspeed` the ranks start again by themselves, and
    this does not count as a restart.
    Wrong: `zerotrain train SPEC --fresh` after a spike
    Right: `zerotrain resume RUN`
    """


@reported_by("a rank", "ZT768", "slow-rank")
def slow_rank() -> None:
    """A rank is slower than the others, in reading its data or in computing.

    Why: all ranks wait for the slowest in every step, so that the whole run is as slow as that one; step times alone do
    not show which it is.
    Wrong: a GPU that is too hot, a machine that does something else too, a disk that is shared with others
    Right: another machine in its place, or `launch.exclude`
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


@rule("ZT772", "late-watchdog")
def late_watchdog(case: Case) -> Iterator[Diagnostic]:
    """The process group gives up before the watchdog does.

    Why: a collective operation that takes longer than `launch.timeout` fails on the ranks that wait, and none of them
    knows for whom; the watchdog does, if it comes first.
    Wrong: `health: {hang: 1 hour}` with the usual `launch.timeout` of 30 minutes
    Right: `health: {hang: 20 minutes}`
    """
    hang, timeout = case.spec.health.hang, case.spec.launch.timeout
    if isinstance(hang, TimeSpan) and hang.seconds >= timeout.seconds:
        message = f"ranks give up after {timeout}, before the watchdog names the one that hangs after {hang}"
        yield case.warning("health.hang", message, help="make it shorter, or raise `launch.timeout`")


RULES: tuple[Rule, ...] = (
    nonfinite_update,
    loss_spike,
    loss_scale_at_floor,
    nonfinite_weights,
    hung_rank,
    rolled_back,
    slow_rank,
    rollback_to_the_start,
    idle_spike_watch,
    late_watchdog,
)
