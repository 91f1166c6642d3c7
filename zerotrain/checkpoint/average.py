"""An exponential moving average of the weights, in fp32, beside the master weights of each rank."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from deepspeed import DeepSpeedEngine

from zerotrain.checkpoint.elastic import take_up
from zerotrain.checkpoint.masters import fragments, masters, named_shapes, publish
from zerotrain.checkpoint.pieces import AVERAGED, Pieces
from zerotrain.checkpoint.weights import AVERAGE
from zerotrain.diagnostic import error
from zerotrain.errors import CheckpointError
from zerotrain.modeling.pipeline import name_in_model
from zerotrain.runs.catalogue import Checkpoint
from zerotrain.spec.run import EmaSpec


class WeightAverage:
    """Begins with the weights as they are, and follows them from update to update."""

    def __init__(self, engine: DeepSpeedEngine, spec: EmaSpec) -> None:
        self._engine, self._spec = engine, spec
        self._updates = 0
        self._averages = [master.float().clone() for master in masters(engine)]

    def update(self) -> None:
        """Notes an update of the weights: average = decay x average + (1 - decay) x weights."""
        self._updates += 1
        if self._updates % self._spec.every:
            return
        decay = effective_decay(self._spec, self._updates // self._spec.every)
        for average, master in zip(self._averages, masters(self._engine), strict=True):
            average.lerp_(master.float(), 1 - decay)

    @contextmanager
    def in_force(self) -> Generator[None]:
        """Lets the model compute with the average for a while. All ranks must enter and leave."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def file(self, directory: Path) -> Path:
        """Returns the file in a checkpoint with what this rank holds."""
        return directory / AVERAGE.format(rank=self._owner())

    def state(self) -> dict[str, Any] | None:
        """Returns what this rank writes into a checkpoint; at stage 0, where all hold the same, only rank 0 does."""
        if dist.get_rank() == self._owner():
            places = {name: tuple(fragment) for name, fragment in fragments(self._engine).items()}
            return {"updates": self._updates, "averages": self._averages, "fragments": places}
        return None

    def load(self, checkpoint: Checkpoint, shard: int | None = None) -> None:
        """Takes up what this rank or, at stage 0, rank 0 wrote; raises CheckpointError when it is not there.

        With a `shard`, its tensor-parallel rank, this rank takes its part from ranks that shared the model otherwise.
        """
        file = checkpoint.path / AVERAGE.format(rank=self._owner() if shard is None else 0)
        if not file.is_file():
            message = f"`{checkpoint.manifest.tag}` holds no average of the weights: `{file.name}` is missing"
            help = "delete it; `resume` then takes the one before"
            raise CheckpointError(error("ZT711", "damaged-checkpoint", message, help=help))
        saved = torch.load(file, map_location="cpu", weights_only=True)
        self._updates = saved["updates"]
        if shard is not None:
            self._take_up(Pieces(checkpoint.path), shard)
            return
        for average, value in zip(self._averages, saved["averages"], strict=True):
            average.copy_(value)

    def _take_up(self, pieces: Pieces, shard: int) -> None:
        shapes = named_shapes(self._engine)
        for name, place in fragments(self._engine).items():
            take_up(pieces, name_in_model(name), AVERAGED, self._averages[place.tensor], place, shapes[name], shard)

    def _owner(self) -> int:
        """Returns the rank whose file holds what this rank holds."""
        return dist.get_rank() if self._engine.zero_optimization_stage() else 0

    def _exchange(self) -> None:
        for average, master in zip(self._averages, masters(self._engine), strict=True):
            weights = master.clone()
            master.copy_(average)
            average.copy_(weights)
        publish(self._engine)


def effective_decay(spec: EmaSpec, averaged: int) -> float:
    """Returns the decay when weights enter the average, counted from 1.

    The warmup, min(decay, (1 + t) / (10 + t)), is that of TensorFlow's `ExponentialMovingAverage`.
    """
    return min(spec.decay, (1 + averaged) / (10 + averaged)) if spec.warmup else spec.decay
