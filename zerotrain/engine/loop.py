"""The training loop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from deepspeed import DeepSpeedEngine
from deepspeed.runtime.pipe.engine import PipelineEngine

from zerotrain.compile.schedule import lr_factor
from zerotrain.data.loader import GlobalBatch, Loader
from zerotrain.engine.device import device_of
from zerotrain.engine.interruption import StopRequests
from zerotrain.engine.orders import Asked, Orders
from zerotrain.engine.pipeline import accumulate
from zerotrain.engine.reduce import sum_over_ranks
from zerotrain.engine.setup import ReadyEngine
from zerotrain.engine.state import TrainState
from zerotrain.hardware.topology import Topology
from zerotrain.modeling.initialize import derived_seed
from zerotrain.monitor.hang import Watchdog
from zerotrain.spec.run import RunSpec
from zerotrain.tasks.base import Task


@dataclass(frozen=True)
class Update:
    """What one optimizer update was."""

    loss: float
    """Mean over all targets of the global batch, on all ranks: trained tokens, or records, or pairs."""
    auxiliary_loss: float
    """Mean of what is trained beside the loss, such as an even load of experts."""
    grad_norm: float | None
    """Norm of the whole gradient before clipping."""
    lr: float
    tokens: int
    """Tokens of the global batch that are not padding; 0 for images."""
    samples: int
    """Samples of the global batch."""
    skipped: bool
    """True when the weights were left as they were: the gradient was not finite, or the batch was left out."""
    stop_is_requested: bool
    """True when any rank is asked to stop."""
    asked: Asked = Asked.NOTHING
    """What the run is asked to do."""
    own_loss_is_finite: bool = True
    """Of this rank's part of the batch."""
    left_out: bool = False
    """True when the batch was not looked at, because the run was rolled back behind it."""


class Hook(Protocol):
    """Looks on after every update."""

    def after_update(self, state: TrainState, update: Update) -> None:
        """Is called on every rank."""
        ...


@dataclass(frozen=True)
class Training:
    """Everything the loop needs."""

    spec: RunSpec
    topology: Topology
    steps: int
    ready: ReadyEngine
    task: Task
    loader: Loader
    state: TrainState
    hooks: Sequence[Hook]
    requests: StopRequests
    orders: Orders
    watchdog: Watchdog | None
    left_out: frozenset[int] = frozenset()
    """Steps whose batches are not trained on."""


def train(training: Training) -> None:
    """Trains to the end of the run, until a hook has given a reason to end it, or until someone asks to stop."""
    training.ready.engine.train()
    with training.requests, training.watchdog or nullcontext():
        while not training.state.is_over(training.steps):
            train_step(training, training.state.step + 1)


def train_step(training: Training, step: int) -> None:
    """Makes one optimizer update, counted from 1, and lets the hooks look on."""
    if training.watchdog is not None:
        training.watchdog.beat(step)
    training.ready.set_learning_rate(learning_rate_factor(training, step))
    batch = training.loader.global_batch(step - 1)
    update = leave_out(training, batch) if step in training.left_out else make_update(training, batch)
    training.state.advance(batch)
    training.state.loss, training.state.lr = update.loss, update.lr
    _heed(training, update)
    for hook in training.hooks:
        hook.after_update(training.state, update)


def _heed(training: Training, update: Update) -> None:
    """Notes what follows from requests and orders; all ranks come to the same."""
    state = training.state
    if update.stop_is_requested:
        state.interruption = training.requests.reason
    elif Asked.STOP in update.asked:
        state.interruption = "the file `STOP` asked for it"
    elif Asked.END in update.asked:
        state.ending, state.is_at_limit = training.orders.reason_to_end() or "a limit of time is reached", True
    state.save_is_asked = Asked.SAVE in update.asked


def _asked_of_any(training: Training, sums: torch.Tensor) -> tuple[torch.Tensor, bool, Asked]:
    """Returns sums over all ranks, whether any is asked to stop, and what the run is asked to do."""
    own = sums.new_tensor([training.requests.received is not None, float(training.orders.look())])
    *totals, requests, asked = sum_over_ranks(torch.cat([sums, own])).unbind()
    return torch.stack(totals) if totals else sums, bool(requests > 0), Asked(int(asked))


def make_update(training: Training, batch: GlobalBatch) -> Update:
    """Accumulates the gradients of a global batch and lets the optimizer step once.

    DeepSpeed averages gradients over ranks; scaled by ranks / targets, the mean over ranks is the mean over the
    targets, whatever the number of micro-batches and however the targets are spread over them. Ranks that share a layer
    by tensor parallelism have the same loss; those that share a sample have the losses of its parts.
    """
    engine, topology = training.ready.engine, training.topology
    scale = _divisor(training) / batch.counts.targets
    if isinstance(engine, PipelineEngine):
        sums = accumulate(engine, training.task, batch, scale, training.spec.seed).repeat(2)
    else:
        sums = _accumulate(training, batch, scale)
    own_loss_is_finite = math.isfinite(sums[0].item())
    sums, stop_is_requested, asked = _asked_of_any(training, sums)
    loss, trained = sums.tolist()
    counted = batch.counts.targets * topology.tp
    return Update(
        loss=loss / counted,
        auxiliary_loss=(trained - loss) / counted,
        grad_norm=_reported_grad_norm(engine),
        lr=engine.get_lr()[0],
        tokens=batch.counts.tokens,
        samples=batch.size,
        skipped=not engine.was_step_applied(),
        stop_is_requested=stop_is_requested,
        asked=asked,
        own_loss_is_finite=own_loss_is_finite,
    )


def leave_out(training: Training, batch: GlobalBatch) -> Update:
    """Counts a step whose batch is not trained on, as one that DeepSpeed has skipped."""
    engine = training.ready.engine
    engine.global_steps += 1
    engine.skipped_steps += 1
    engine.global_samples += engine.train_batch_size()
    _, stop_is_requested, asked = _asked_of_any(training, torch.zeros(0, device=device_of(engine)))
    return Update(
        loss=math.nan,
        auxiliary_loss=0.0,
        grad_norm=None,
        lr=engine.get_lr()[0],
        tokens=0,
        samples=batch.size,
        skipped=True,
        stop_is_requested=stop_is_requested,
        asked=asked,
        left_out=True,
    )


def _divisor(training: Training) -> int:
    """Returns by how many ranks DeepSpeed divides the sum of gradients.

    These are the data-parallel ones; at stage 3 Ulysses' are among them (`reduce_scatter_coalesced` in runtime/comm/
    coalesced_collectives.py), although the sum over a sample's parts is meant.
    """
    topology, at_stage_3 = training.topology, training.spec.zero.stage == 3
    return topology.dp * (topology.sp if at_stage_3 else 1)


def _accumulate(training: Training, batch: GlobalBatch, scale: float) -> torch.Tensor:
    """Returns the loss summed over this rank's micro-batches, and what is trained: the loss and what is added to it."""
    engine = training.ready.engine
    device = device_of(engine)
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    for micro_batch in batch.micro_batches:
        torch.manual_seed(derived_seed(training.spec.seed, "dropout", micro_batch.first_sample))
        loss = training.task.loss(engine, micro_batch.batch.to(device))
        engine.backward(loss.trained * scale, scale_wrt_gas=False)
        sums += torch.stack([loss.total.detach(), loss.trained.detach()])
        engine.step()
    return sums


def learning_rate_factor(training: Training, step: int) -> float:
    """Returns the learning rate of an update as a fraction of the peak."""
    return lr_factor(training.spec.schedule, step, total_steps=training.steps)


def _reported_grad_norm(engine: DeepSpeedEngine) -> float | None:
    """Returns DeepSpeed's gradient norm; none for Muon under ZeRO, where it is the norm of Muon's updates."""
    norm = engine.get_global_grad_norm()
    of_updates = engine.zero_optimization() and engine.optimizer_name() == "muon"
    return None if norm is None or of_updates else float(norm)
