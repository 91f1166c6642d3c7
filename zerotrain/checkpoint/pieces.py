"""What each rank of a checkpoint holds of the optimizer, so that ranks that share it otherwise can take it up.

DeepSpeed's files hold flat tensors and do not say which parameter is where in them. Each rank writes that beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from deepspeed import DeepSpeedEngine
from pydantic import ConfigDict, TypeAdapter

from zerotrain.checkpoint.files import read_states
from zerotrain.checkpoint.masters import Fragment, fragments, named_shapes
from zerotrain.checkpoint.pipeline import layer_weights
from zerotrain.checkpoint.scaler import scaler_state
from zerotrain.checkpoint.weights import AVERAGE
from zerotrain.modeling.pipeline import name_in_model
from zerotrain.runs.files import write_json

MASTER, AVERAGED = "master", "average"
"""Names of the fp32 weights and of their exponential average, beside those of the optimizer's states."""

_LAYOUT = "layout_rank_{rank}.json"
_FLAT = ("single_partition_of_fp32_groups", "fp32_flat_groups", "fp32_groups_flat", "fp32_groups")
"""Where files keep master weights: stages 1 and 2 and bf16's own, stage 3, 16-bit stage 0 with and without fusion."""
_NESTED = ("base_optimizer_state", "optimizer_state_dict")
"""Where they keep the state of the optimizer that these are around; without master weights it is all there is."""


@dataclass(frozen=True)
class Layout:
    """What a rank holds."""

    file: str
    """DeepSpeed's file with this rank's part of the optimizer."""
    rank: int
    shard: int
    """Tensor-parallel rank."""
    pieces: Mapping[str, Fragment]
    """Parameter of the whole model to its `Fragment`."""
    shapes: Mapping[str, tuple[int, ...]]
    """Parameter to its shape on a tensor-parallel rank."""
    scaler: Mapping[str, float | int] = field(default_factory=dict)

    __pydantic_config__ = ConfigDict(extra="forbid")


_READER = TypeAdapter(Layout)


def save_layout(engine: DeepSpeedEngine, directory: Path, rank: int, shard: int) -> list[Path]:
    """Writes what this rank's file in a checkpoint holds, if it has one; returns the files.

    At stage 0 only some ranks have one.
    """
    is_partitioned = engine.zero_optimization()
    if not (is_partitioned or engine.save_non_zero_checkpoint):
        return []
    name_of = engine._get_zero_ckpt_name if is_partitioned else engine._get_ckpt_name
    file = Path(name_of(str(directory.parent), directory.name)).name
    pieces = {name_in_model(name): fragment for name, fragment in fragments(engine).items()}
    shapes = {name_in_model(name): shape for name, shape in named_shapes(engine).items()}
    layout = Layout(file, rank, shard, pieces, shapes, scaler_state(engine))
    written = directory / _LAYOUT.format(rank=rank)
    write_json(written, asdict(layout))
    return [written]


@dataclass(frozen=True)
class RankFile:
    """The tensors of one rank, read when they are asked for."""

    directory: Path
    layout: Layout

    def states_of(self, name: str) -> Mapping[str, Any]:
        """Returns what the optimizer keeps of the flat tensor with a parameter in it; its weights are not among it."""
        return self._states.get(self.layout.pieces[name].tensor, {})

    def all_states(self) -> Iterable[Mapping[str, Any]]:
        """Returns what the optimizer keeps of each flat tensor."""
        return self._states.values()

    def tensor(self, name: str, key: str) -> torch.Tensor:
        """Returns the flat tensor with a parameter in it: of `MASTER`, `AVERAGED`, or a state of the optimizer."""
        index = self.layout.pieces[name].tensor
        if key == AVERAGED:
            return self._averages[index].reshape(-1)
        if key != MASTER:
            return self._states[index][key].reshape(-1)
        return (self._masters[index] if self._masters is not None else self._module[name]).reshape(-1)

    @cached_property
    def _optimizer(self) -> Mapping[str, Any]:
        states = read_states(self.directory / self.layout.file)
        return states["optimizer_state_dict"] if "optimizer_state_dict" in states else states["optimizer"]

    @cached_property
    def _states(self) -> Mapping[int, Mapping[str, Any]]:
        return next((self._optimizer[key] for key in _NESTED if key in self._optimizer), self._optimizer)["state"]

    @cached_property
    def _masters(self) -> Sequence[torch.Tensor] | None:
        found = next((self._optimizer[key] for key in _FLAT if key in self._optimizer), None)
        if found is None or isinstance(found[0], torch.Tensor):
            return found
        return [master for group in found for master in group]

    @cached_property
    def _module(self) -> Mapping[str, torch.Tensor]:
        weights = read_states(self.directory / self.layout.file)["module"]
        return layer_weights(self.directory, self.layout.shard) if weights is None else weights

    @cached_property
    def _averages(self) -> Sequence[torch.Tensor]:
        return read_states(self.directory / AVERAGE.format(rank=self.layout.rank))["averages"]


class Pieces:
    """The optimizer of a whole checkpoint, by parameter."""

    def __init__(self, directory: Path) -> None:
        self._files = [RankFile(directory, layout) for layout in _layouts(directory)]
        self._holders: dict[str, list[RankFile]] = {}
        for file in self._files:
            for name in file.layout.pieces:
                self._holders.setdefault(name, []).append(file)

    @property
    def is_there(self) -> bool:
        """Whether the checkpoint says what its files hold."""
        return bool(self._files)

    @property
    def scaler(self) -> Mapping[str, float]:
        """The numbers of the loss scaler, which all ranks have alike."""
        return self._files[0].layout.scaler

    @property
    def updates(self) -> int:
        """How many updates the optimizer has made.

        The fused Adam counts them for the last parameter of a group alone (`step` in ops/adam/fused_adam.py).
        """
        return max((int(state["step"]) for state in self._files[0].all_states() if "step" in state), default=0)

    def states(self, name: str) -> Mapping[str, Any]:
        """Returns a rank's states of a parameter, for their names and for those that are single numbers."""
        return self._holders[name][0].states_of(name)

    def values(self, name: str, key: str, shape: Sequence[int], shard: int, start: int, length: int) -> torch.Tensor:
        """Returns elements of a parameter from `start` on, as a tensor-parallel rank with that shape of it has them.

        At most `length`, and none behind its end. A parameter that is divided otherwise than here is put together
        whole, one at a time, and divided again.
        """
        saved, shards = self._holders[name][0].layout.shapes[name], self._shards(name)
        if tuple(saved) == tuple(shape):
            return self._flat(name, key, shard if shard in shards else shards[0], start, length)
        parts = [self._flat(name, key, own, 0, _size(saved)).view(*saved) for own in shards]
        axis = next(axis for axis, (was, now) in enumerate(zip(saved, shape, strict=True)) if was != now)
        whole = torch.cat(parts, axis)
        return whole.narrow(axis, shard * shape[axis], shape[axis]).reshape(-1)[start : start + length]

    def _flat(self, name: str, key: str, shard: int, start: int, length: int) -> torch.Tensor:
        holders = self._holders[name]
        size = _size(holders[0].layout.shapes[name])
        stop = min(start + length, size)
        own = [holder for holder in holders if holder.layout.shard == shard]
        # At stage 3 what tensor parallelism leaves whole is partitioned over the ranks of all shards.
        is_covered = sum(holder.layout.pieces[name].length for holder in own) >= size
        values: torch.Tensor | None = None
        for holder in own if is_covered else holders:
            _, offset, begin, count = holder.layout.pieces[name]
            first, last = max(start, begin), min(stop, begin + count)
            if first >= last:
                continue
            piece = holder.tensor(name, key)[offset + first - begin : offset + last - begin]
            values = torch.empty(max(stop - start, 0), dtype=piece.dtype) if values is None else values
            values[first - start : last - start] = piece
        return torch.empty(0) if values is None else values

    def _shards(self, name: str) -> list[int]:
        return sorted({holder.layout.shard for holder in self._holders[name]})


def _layouts(directory: Path) -> Iterator[Layout]:
    files = directory.glob(_LAYOUT.format(rank="*"))
    return iter(sorted((_READER.validate_json(file.read_bytes()) for file in files), key=lambda layout: layout.rank))


def _size(shape: Sequence[int]) -> int:
    return torch.Size(shape).numel()
