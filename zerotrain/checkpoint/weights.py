"""The whole weights out of a DeepSpeed checkpoint, whatever its ZeRO stage."""

from __future__ import annotations

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

from zerotrain.checkpoint.expert_layers import expert_layer_weights, has_expert_layers
from zerotrain.checkpoint.experts import expert_ranks, gathered_weights
from zerotrain.checkpoint.files import read_states
from zerotrain.checkpoint.pipeline import in_model, is_pipeline, layer_weights
from zerotrain.checkpoint.tensor_parallel import StateDict, as_only_rank, joined, stage_3_parts, tensor_parallel_ranks
from zerotrain.runs.catalogue import Checkpoint

AVERAGE = "ema_rank_{rank}.pt"
"""File of a checkpoint with what a rank holds of the average of the weights."""

_MODEL = "mp_rank_00_model_states.pt"
_PARTITIONED_MODEL = "zero_pp_rank_0_mp_rank_00_model_states.pt"
_BF16_PARTITION = re.compile(r"^bf16_zero_pp_rank_(\d+)_mp_rank_00_optim_states\.pt$")


def whole_weights(checkpoint: Checkpoint) -> StateDict:
    """Returns the weights in host memory: the fp32 master weights at stages 1 to 3, the model's own at stage 0.

    Frozen weights have no master weights and are the model's own. What tensor parallelism or a pipeline divides is put
    together.
    """
    if is_pipeline(checkpoint.path):
        return _pipeline_weights(checkpoint.path, checkpoint.manifest.parallel["tp"])
    stage, ranks = checkpoint.manifest.zero_stage, tensor_parallel_ranks(checkpoint.path)
    if len(ranks) == 1:
        return _weights(checkpoint.path, stage)
    plan = _division(checkpoint.path)
    if stage == 3:
        return joined(stage_3_parts(checkpoint.path, plan), plan)
    with TemporaryDirectory() as folder:
        views = [as_only_rank(checkpoint.path, rank, Path(folder)) for rank in ranks]
        return joined([_weights(view, stage) for view in views], plan)


def _pipeline_weights(directory: Path, tp: int) -> StateDict:
    """Returns the weights of all stages: of the layers, which in fp32 are the master weights, or those beside them."""
    parts = [layer_weights(directory, rank) for rank in range(tp)]
    if _bf16_partitions(directory):
        with TemporaryDirectory() as folder:
            for rank in tensor_parallel_ranks(directory):  # in the names of files stage x tp + tensor-parallel rank
                parts[rank % tp] |= in_model(_bf16_optimizer_weights(as_only_rank(directory, rank, Path(folder))))
    return parts[0] if tp == 1 else joined(parts, _division(directory))


def _division(directory: Path) -> dict[str, Any]:
    """Returns what a checkpoint says of how its weights are divided over tensor-parallel ranks."""
    return read_states(next(directory.glob("*mp_rank_00_model_states.pt")))["universal_checkpoint_info"]


def _weights(directory: Path, stage: int) -> StateDict:
    states = read_states(directory / (_PARTITIONED_MODEL if stage == 3 else _MODEL))
    if expert_ranks(states) > 1:
        return gathered_weights(directory, stage, states, read_states)
    if has_expert_layers(states):
        return expert_layer_weights(directory, stage, states, read_states)
    if stage == 0:
        return states["module"]
    if stage == 1 and _bf16_partitions(directory):
        return _bf16_optimizer_weights(directory)
    for file in directory.glob("*_states.pt"):
        read_states(file)  # DeepSpeed unpickles whatever is there
    with redirect_stdout(StringIO()):  # it says how much it has put together
        gathered: Any = get_fp32_state_dict_from_zero_checkpoint(str(directory.parent), tag=directory.name)
    return _whole_module(directory) | dict(gathered) if stage == 1 else dict(gathered)


def _whole_module(directory: Path) -> StateDict:
    """Returns the model's own weights, for the frozen ones among them.

    At stage 1 DeepSpeed stores frozen weights only here, and its `zero_to_fp32` leaves them out (`_save_checkpoint` in
    runtime/engine.py, DeepSpeed 0.19.8).
    """
    return dict(read_states(directory / _MODEL)["module"])


def model_states(checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns what DeepSpeed keeps beside the optimizer: `module` with buffers and weights, and counts of steps.

    The weights are those of one rank; a pipeline's are in other files.
    """
    return read_states(next(checkpoint.path.glob("*mp_rank_00_model_states.pt")))


def averaged_weights(checkpoint: Checkpoint) -> StateDict:
    """Returns the exponential moving average of the weights in host memory; what is not trained is as it is."""
    weights = whole_weights(checkpoint)
    averages: StateDict = {}
    for file in sorted(checkpoint.path.glob(AVERAGE.format(rank="*"))):
        saved = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
        for name, (tensor, offset, start, length) in saved["fragments"].items():
            whole = averages.setdefault(name, torch.empty(weights[name].numel()))
            piece = saved["averages"][tensor].reshape(-1)[offset : offset + min(length, whole.numel() - start)]
            whole[start : start + piece.numel()] = piece
    return weights | {name: average.view(weights[name].shape) for name, average in averages.items()}


def _bf16_partitions(directory: Path) -> list[Path]:
    """Returns the partitions of the master weights, by rank."""
    ranked = [(int(match[1]), file) for file in directory.iterdir() if (match := _BF16_PARTITION.match(file.name))]
    return [file for _, file in sorted(ranked)]


def _bf16_optimizer_weights(directory: Path) -> StateDict:
    """Returns the weights of stage 1 with bf16 weights and fp32 accumulation.

    DeepSpeed has an optimizer of its own for it (`BF16_Optimizer`), whose checkpoints its `zero_to_fp32` refuses as
    "not a zero checkpoint" (DeepSpeed 0.19.8): they do not name their stage. Each rank holds a piece of every parameter
    group's flat master weights; in it the parameters lie in the order of `param_shapes`, then padding.
    """
    states = read_states(directory / _MODEL)
    partitions = [read_states(file)["optimizer_state_dict"] for file in _bf16_partitions(directory)]
    weights: StateDict = dict(states["module"] or {})  # a pipeline's are in other files
    for group, shapes in enumerate(states["param_shapes"]):
        flat = torch.cat([partition["single_partition_of_fp32_groups"][group] for partition in partitions])
        start = 0
        for name, shape in shapes.items():
            weights[name] = flat[start : start + shape.numel()].view(shape)
            start += shape.numel()
    return weights
