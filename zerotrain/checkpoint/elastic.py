"""Continuing from a checkpoint of ranks that shared the model in another way.

DeepSpeed's universal checkpoint does not lead from stages 1 and 2 to stage 3 or back, needs all states written out
again first, and has no place for what is kept beside the optimizer. Here each rank takes the elements that it holds
out of the files of those that held them.
"""

from __future__ import annotations

from typing import Any

import torch
from deepspeed import DeepSpeedEngine

from zerotrain.checkpoint.masters import Fragment, fragments, masters, named_shapes, optimizer_states, publish
from zerotrain.checkpoint.pieces import MASTER, Pieces
from zerotrain.checkpoint.scaler import restore_scaler
from zerotrain.checkpoint.weights import model_states
from zerotrain.modeling.pipeline import name_in_model
from zerotrain.modeling.unwrap import module_of
from zerotrain.runs.catalogue import Checkpoint


def load_pieces(engine: DeepSpeedEngine, checkpoint: Checkpoint, shard: int) -> None:
    """Loads weights and optimizer states into an engine whose ranks share them otherwise than the checkpoint's.

    `shard` is the tensor-parallel rank. All ranks must call this.
    """
    pieces = Pieces(checkpoint.path)
    held, states, shapes = masters(engine), optimizer_states(engine), named_shapes(engine)
    for own_name, place in fragments(engine).items():
        name = name_in_model(own_name)
        take_up(pieces, name, MASTER, held[place.tensor], place, shapes[own_name], shard)
        state = states[place.tensor]
        for key, saved in pieces.states(name).items():
            if _is_number(saved):
                state[key] = saved.clone() if isinstance(saved, torch.Tensor) else saved
                continue
            if key not in state:
                state[key] = torch.zeros_like(held[place.tensor], dtype=saved.dtype)
            take_up(pieces, name, key, state[key], place, shapes[own_name], shard)
    _count_updates(engine, states, pieces.updates)
    publish(engine)
    _restore_module(engine, checkpoint)
    restore_scaler(engine, pieces.scaler)


def take_up(
    pieces: Pieces, name: str, key: str, target: torch.Tensor, place: Fragment, shape: tuple[int, ...], shard: int
) -> None:
    """Copies what a rank holds of a parameter, its weights or a state, from a checkpoint into one of its tensors."""
    values = pieces.values(name, key, shape, shard, place.start, place.length)
    target.view(-1)[place.offset : place.offset + values.numel()].copy_(values)


def _is_number(state: Any) -> bool:
    return not isinstance(state, torch.Tensor) or state.dim() == 0


def _count_updates(engine: DeepSpeedEngine, states: list[dict[str, Any]], updates: int) -> None:
    optimizer: Any = engine.optimizer
    for counting in (*states, *optimizer.param_groups):
        if "step" in counting:
            counted = counting["step"]
            counting["step"] = torch.full_like(counted, updates) if isinstance(counted, torch.Tensor) else updates


def _restore_module(engine: DeepSpeedEngine, checkpoint: Checkpoint) -> None:
    """Brings back the model's buffers that are saved, such as running means, and the engine's own counts."""
    saved = model_states(checkpoint)
    for name, buffer in module_of(engine).named_buffers():
        if name in (saved["module"] or {}):
            buffer.copy_(saved["module"][name])
    engine.global_steps, engine.skipped_steps = saved["global_steps"], saved["skipped_steps"]
    engine.global_samples = engine.global_steps * engine.train_batch_size()
