"""What happens after an update: log, average, evaluate, save."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zerotrain.checkpoint.average import WeightAverage
from zerotrain.engine.loop import Update
from zerotrain.engine.state import TrainState
from zerotrain.engine.watch import Watch
from zerotrain.modeling.routers import RouterMeter
from zerotrain.monitor.meters import Speed, StepClock, peak_bytes
from zerotrain.monitor.sinks.base import Sink


@dataclass
class LogUpdates:
    """Writes a row for every update, or for every so many."""

    sink: Sink
    clock: StepClock
    speed: Speed
    attempt: int
    every: int
    last_step: int
    routers: RouterMeter | None = None
    """Tells of the routers of a model with experts."""

    def after_update(self, state: TrainState, update: Update) -> None:
        """Writes the row of an update."""
        seconds = self.clock.lap()
        if state.step % self.every == 0 or state.step == self.last_step:
            self.sink.write(self._row(state, update, seconds) | self._of_routers(update))

    def _of_routers(self, update: Update) -> dict[str, Any]:
        return self.routers.read() | {"router_loss": update.auxiliary_loss} if self.routers else {}

    def _row(self, state: TrainState, update: Update, seconds: float) -> dict[str, object]:
        tokens_per_second = update.tokens / seconds
        return {
            "kind": "train",
            "step": state.step,
            "attempt": self.attempt,
            "loss": update.loss,
            "lr": update.lr,
            "grad_norm": update.grad_norm,
            "tokens": state.tokens,
            "samples": state.samples,
            "step_seconds": seconds,
            "tokens_per_second": tokens_per_second,
            "samples_per_second": update.samples / seconds,
            "mfu": self.speed.mfu(tokens_per_second),
            "peak_bytes": peak_bytes(),
            "skipped": update.skipped,
            "time": time.time(),
        }


@dataclass
class Average:
    """Lets the average of the weights follow every update that was applied."""

    average: WeightAverage

    def after_update(self, state: TrainState, update: Update) -> None:
        """Follows the update, unless it was skipped."""
        if not update.skipped:
            self.average.update()


@dataclass
class Evaluate:
    """Measures the validation data every so many updates and after the last."""

    measure: Callable[[], dict[str, float]]
    watch: Watch
    sink: Sink
    clock: StepClock
    attempt: int
    every: int | None
    last_step: int
    routers: RouterMeter | None = None

    def after_update(self, state: TrainState, update: Update) -> None:
        """Measures when it is time; who is asked to stop has no time, and measures when the run goes on."""
        if state.interruption is None and (state.ending is not None or self.is_due(state.step)):
            self.now(state)

    def is_due(self, step: int) -> bool:
        """Tells whether a step is to be measured."""
        return step == self.last_step or bool(self.every and step % self.every == 0)

    def now(self, state: TrainState) -> None:
        """Measures, writes the row, and lets the watch decide what follows from it."""
        start = time.perf_counter()
        metrics = self.measure()
        self.sink.write(
            {
                "kind": "eval",
                "step": state.step,
                "attempt": self.attempt,
                "metrics": metrics,
                "seconds": time.perf_counter() - start,
                "time": time.time(),
                **(self.routers.read_each() if self.routers else {}),
            }
        )
        self.watch.note(state, metrics)
        self.clock.restart()


@dataclass
class Save:
    """Saves at intervals, after the last update, and when an evaluation was the best."""

    save: Callable[[TrainState], None]
    watch: Watch
    sink: Sink
    clock: StepClock
    attempt: int
    intervals: Sequence[int]
    """Steps; a checkpoint is saved at every multiple of any of them."""
    last_step: int

    def after_update(self, state: TrainState, update: Update) -> None:
        """Saves when it is time, and notes for how many seconds training stood still."""
        is_due = any(state.step % every == 0 for every in self.intervals)
        if state.is_over(self.last_step) or is_due or state.save_is_asked or self.watch.wants_saved(state.step):
            start = time.perf_counter()
            self.save(state)
            seconds = time.perf_counter() - start
            row = {"kind": "save", "step": state.step, "attempt": self.attempt, "seconds": seconds}
            self.sink.write({**row, "time": time.time()})
            self.clock.restart()
