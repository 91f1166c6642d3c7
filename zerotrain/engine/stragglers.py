"""Measures now and then what each rank does alone, and tells of those that are slow."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median

import torch
import torch.distributed as dist

from zerotrain.engine.device import accelerator
from zerotrain.engine.loop import Update
from zerotrain.engine.state import TrainState
from zerotrain.monitor.console import Console
from zerotrain.monitor.meters import LoadingClock, StepClock
from zerotrain.monitor.sinks.base import Sink
from zerotrain.monitor.stragglers import Stragglers
from zerotrain.runs.events import Event
from zerotrain.spec.health import StragglerSpec

_SIZES = {"cpu": 512}
_USUAL_SIZE = 4096
_REPETITIONS = 5


@dataclass
class FindStragglers:
    """Compares the ranks every so many steps."""

    spec: StragglerSpec
    device: torch.device
    loading: LoadingClock
    sink: Sink
    console: Console
    clock: StepClock
    attempt: int
    _stragglers: Stragglers = field(init=False)

    def __post_init__(self) -> None:
        self._stragglers = Stragglers(self.spec)

    def after_update(self, state: TrainState, update: Update) -> None:
        """Compares the ranks when it is time. All ranks must call this."""
        if state.step % self.spec.every:
            return
        own = torch.tensor([self.loading.take(), probe_seconds(self.device)], device=self.device)
        everyone = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(everyone, own)
        for slow in self._stragglers.look([pair.tolist() for pair in everyone]):
            event = Event("ZT768", "slow-rank", state.step, "warn", str(slow))
            self.sink.write(event.as_row(self.attempt, time.time()))
            self.console.say(f"warning[ZT768] slow-rank: step {state.step}: {slow}")
        self.clock.restart()


def probe_seconds(device: torch.device) -> float:
    """Returns the median time of a matrix product, which is the same on all ranks."""
    size = _SIZES.get(device.type, _USUAL_SIZE)
    left = torch.ones(size, size, device=device)
    taken: list[float] = []
    for _ in range(_REPETITIONS):
        start = time.perf_counter()
        torch.mm(left, left)
        accelerator().synchronize()
        taken.append(time.perf_counter() - start)
    return median(taken)
