"""Looks after every update whether training still goes well, and does what the spec says when it does not."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from deepspeed import DeepSpeedEngine

from zerotrain.checkpoint.scaler import scaler_state
from zerotrain.data.loader import Loader
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.engine.device import device_of
from zerotrain.engine.loop import Update
from zerotrain.engine.reduce import any_rank
from zerotrain.engine.state import TrainState
from zerotrain.errors import EngineError, RunError
from zerotrain.modeling.unwrap import module_of
from zerotrain.monitor.console import Console
from zerotrain.monitor.sinks.base import Sink
from zerotrain.monitor.spikes import SpikeDetector
from zerotrain.runs.events import Event, events
from zerotrain.runs.history import curve
from zerotrain.runs.layout import RunDirectory
from zerotrain.spec.health import HealthSpec
from zerotrain.spec.suggest import listed

NONFINITE = ("ZT760", "nonfinite-update")
SPIKE = ("ZT762", "loss-spike")
_FLOOR = ("ZT763", "loss-scale-at-floor")
_ROLLED_BACK = ("ZT767", "rolled-back")

_NAMED_RANKS = 4

_MEANWHILE = {
    "skip": "the update is skipped",
    "warn": "training goes on",
    "rollback": "the run goes on from its last checkpoint without this batch",
    "stop": "the run stops",
}


@dataclass(frozen=True)
class Past:
    """What an attempt must know of those before it."""

    losses: Sequence[float]
    """Of the updates made, up to the step that the attempt continues from."""
    skipped: frozenset[int]
    """Steps whose update was skipped because it was not finite."""
    left_out: frozenset[int]
    """Steps whose batch is left out, because the run was rolled back behind it."""


def read_past(run: RunDirectory, step: int) -> Past:
    """Returns the past of a run that continues from a step, as rank 0 reads it. All ranks must call this."""
    said: list[Past | None] = [_read(run, step) if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(said, src=0)
    assert said[0] is not None, "rank 0 has read it"
    return said[0]


def _read(run: RunDirectory, step: int) -> Past:
    trained = sorted((at, row) for at, row in curve(run).items() if at <= step)
    losses = [row["loss"] for _, row in trained if row["loss"] is not None and not row.get("skipped")]
    by_action = {name: frozenset(e.step for e in events(run) if e.action == name) for name in ("skip", "rollback")}
    return Past(losses, by_action["skip"], by_action["rollback"])


@dataclass
class Health:
    """Finds updates that are not finite and leaps of the loss."""

    spec: HealthSpec
    engine: DeepSpeedEngine
    loader: Loader
    past: Past
    sink: Sink
    console: Console
    attempt: int
    _detector: SpikeDetector | None = field(init=False)
    _skipped: set[int] = field(init=False)
    _scale: float | None = field(init=False)
    """fp16's loss scale, which the next update is made with."""

    def __post_init__(self) -> None:
        spikes = self.spec.loss_spike
        self._detector = SpikeDetector(spikes, self.past.losses) if spikes else None
        self._skipped, self._scale = set(self.past.skipped), _scale_of(self.engine)

    def after_update(self, state: TrainState, update: Update) -> None:
        """Looks at an update; raises EngineError or RunError when the spec says that the run does not go on.

        All ranks must call this; all come to the same verdict, because they have the same loss.
        """
        if update.left_out:
            return
        scale, self._scale = self._scale, _scale_of(self.engine)
        if not math.isfinite(update.loss) or (update.skipped and not _adapts(self.engine, scale)):
            self._on_nonfinite(state, update)
        elif self._detector is not None and not update.skipped and (spike := self._detector.look(update.loss)):
            self._on_spike(state, update, str(spike))

    def _on_nonfinite(self, state: TrainState, update: Update) -> None:
        policy = self.spec.nonfinite
        is_loss = not math.isfinite(update.loss)
        at_floor = not is_loss and self._scale is not None
        code = _FLOOR if at_floor else NONFINITE
        what = f"the loss is {update.loss}{self._where(update)}" if is_loss else "the gradient is not finite"
        what += f", at a loss scale of {self._scale:g}, which falls no further" if at_floor else ""
        self._skipped.add(state.step)
        is_spent = policy.action == "skip" and len(self._skipped) > policy.budget
        what += f"; {policy.budget} updates were skipped before it" if is_spent else ""
        action = "stop" if is_spent else policy.action
        message = self._tell(code, action, state, update, what)
        if action == "stop":
            help = "look at the batch and at the learning rate; `health.nonfinite.action: skip` goes on without it"
            raise EngineError(error(*code, message, help=help, key="health.nonfinite"))

    def _on_spike(self, state: TrainState, update: Update, what: str) -> None:
        policy = self.spec.loss_spike
        assert policy is not None, "spikes are looked for"
        is_spent = policy.action == "rollback" and len(self.past.left_out) >= policy.budget
        what += f"; the run was rolled back {policy.budget} times before it" if is_spent else ""
        action = "stop" if is_spent else policy.action
        message = self._tell(SPIKE, action, state, update, what)
        if action == "stop":
            help = "look at the batch, or lower the learning rate"
            raise EngineError(error(*SPIKE, message, help=help, key="health.loss_spike"))
        if action == "rollback":
            help = "`zerotrain resume` goes on from the last checkpoint, and leaves the batch out"
            raise RunError(error(*_ROLLED_BACK, message, help=help, key="health.loss_spike"))

    def _where(self, update: Update) -> str:
        """Returns which ranks had the bad part of the batch."""
        said = [True] * dist.get_world_size()
        dist.all_gather_object(said, update.own_loss_is_finite)
        ranks = [str(rank) for rank, is_finite in enumerate(said) if not is_finite]
        more = len(ranks) - _NAMED_RANKS
        named = [*ranks[:_NAMED_RANKS], *([f"{more} more"] if more > 0 else [])]
        return f" on {'rank' if len(ranks) == 1 else 'ranks'} {listed(named, 'and')}" if ranks else ""

    def _tell(self, code: tuple[str, str], action: str, state: TrainState, update: Update, what: str) -> str:
        first, end = state.samples - update.samples, state.samples
        batch = f"samples {first} to {end - 1}, {self.loader.fingerprint(state.step - 1)}"
        message = f"step {state.step} ({batch}): {what}"
        event = Event(*code, step=state.step, action=action, message=message, samples=(first, end))
        self.sink.write(event.as_row(self.attempt, time.time()))
        if action != "stop":
            self.console.say(f"warning[{code[0]}] {code[1]}: {message}; {_MEANWHILE[action]}")
        return message


def _scale_of(engine: DeepSpeedEngine) -> float | None:
    """Returns fp16's loss scale; None in other formats."""
    return scaler_state(engine).get("cur_scale")


def _adapts(engine: DeepSpeedEngine, scale: float | None) -> bool:
    """Tells whether fp16's loss scale can fall, so that an overflow says nothing of the model."""
    if scale is None or not engine.dynamic_loss_scale():
        return False
    config: Any = engine._config
    return scale > config.float16_config.min_loss_scale


def nonfinite_weights(engine: DeepSpeedEngine) -> Diagnostic | None:
    """Returns a finding when a weight on any rank is not finite. All ranks must call this."""
    own = any(not bool(torch.isfinite(part).all()) for part in _own_weights(module_of(engine)))
    if not any_rank(own, device_of(engine)):
        return None
    message = "weights of the model are not finite, so that it is not saved; the checkpoints before are kept"
    help = "lower the learning rate, and resume from a checkpoint before"
    return error("ZT764", "nonfinite-weights", message, help=help)


def _own_weights(model: torch.nn.Module) -> Sequence[torch.Tensor]:
    parts: list[Any] = [getattr(parameter, "ds_tensor", parameter) for parameter in model.parameters()]
    return [part.data for part in parts if part.is_floating_point()]
