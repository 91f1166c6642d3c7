"""Where the fp32 master weights of a rank lie, whatever DeepSpeed optimizer holds them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from deepspeed import DeepSpeedEngine
from deepspeed.runtime.bf16_optimizer import BF16_Optimizer
from deepspeed.runtime.fp16.fused_optimizer import FP16_Optimizer
from deepspeed.runtime.fp16.unfused_optimizer import FP16_UnfusedOptimizer
from deepspeed.runtime.zero.stage3 import DeepSpeedZeroOptimizer_Stage3
from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer
from torch._utils import _unflatten_dense_tensors

from zerotrain.modeling.unwrap import module_of


class Fragment(NamedTuple):
    """A piece of a parameter in the master weights of a rank, counted in elements."""

    tensor: int
    """Index in what `masters` returns."""
    offset: int
    """Where the piece begins in that tensor."""
    start: int
    """Where the piece begins in the whole parameter."""
    length: int
    """Elements of the piece, at stage 3 with the padding after the last of the parameter."""


def masters(engine: DeepSpeedEngine) -> list[torch.Tensor]:
    """Returns the master weights of this rank as DeepSpeed keeps them; the trained parameters where it keeps none."""
    return [master.detach() for master in _held(engine)]


def optimizer_states(engine: DeepSpeedEngine) -> list[dict[str, Any]]:
    """Returns what the optimizer keeps of each of `masters`; empty where it has kept nothing yet."""
    stepping: Any = getattr(engine.optimizer, "optimizer", engine.optimizer)
    return [stepping.state[master] for master in _held(engine)]


def _held(engine: DeepSpeedEngine) -> list[torch.Tensor]:
    optimizer: Any = engine.optimizer
    if isinstance(optimizer, DeepSpeedZeroOptimizer_Stage3):
        return list(optimizer.fp32_partitioned_groups_flat)
    if isinstance(optimizer, DeepSpeedZeroOptimizer):
        return list(optimizer.single_partition_of_fp32_groups)
    if isinstance(optimizer, BF16_Optimizer):
        return list(optimizer.fp32_groups_flat_partition)
    if isinstance(optimizer, FP16_Optimizer):
        return list(optimizer.fp32_groups_flat)
    if isinstance(optimizer, FP16_UnfusedOptimizer):
        return [master for group in optimizer.fp32_groups for master in group]
    return _trained(engine)


def fragments(engine: DeepSpeedEngine) -> dict[str, Fragment]:
    """Returns where this rank holds what of which parameter; tied parameters stand under all their names."""
    optimizer: Any = engine.optimizer
    if isinstance(optimizer, DeepSpeedZeroOptimizer_Stage3):
        return {name: _at_stage_3(optimizer, parameter) for name, parameter in _named(engine)}
    if isinstance(optimizer, DeepSpeedZeroOptimizer | BF16_Optimizer):
        return {name: _linked(parameter) for name, parameter in _named(engine) if parameter._hp_mapping is not None}
    places = dict(_whole(optimizer, engine))
    return {name: places[parameter] for name, parameter in _named(engine)}


def named_shapes(engine: DeepSpeedEngine) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each trained parameter on this rank, whatever ZeRO has partitioned."""
    return {name: tuple(getattr(parameter, "ds_shape", parameter.shape)) for name, parameter in _named(engine)}


def publish(engine: DeepSpeedEngine) -> None:
    """Brings the master weights into the parameters that the model computes with. All ranks must call this."""
    optimizer: Any = engine.optimizer
    if isinstance(optimizer, DeepSpeedZeroOptimizer_Stage3):
        # What its `load_state_dict` does with master weights it has read (runtime/zero/stage3.py). Small parameters
        # that every rank keeps whole are given up first: they would not be gathered again.
        kept_whole = optimizer.persistent_parameters
        if kept_whole:
            kept_whole[0].partition(kept_whole)
        for group in range(len(optimizer.fp32_partitioned_groups_flat)):
            optimizer._reassign_or_swap_out_partitioned_parameters(group)
        optimizer._post_step([])
    elif isinstance(optimizer, DeepSpeedZeroOptimizer | BF16_Optimizer):
        optimizer.update_lp_params()
    elif isinstance(optimizer, FP16_Optimizer):
        for weights, flat in zip(optimizer.fp16_groups, optimizer.fp32_groups_flat, strict=True):
            _copy(weights, _unflatten_dense_tensors(flat, weights))
    elif isinstance(optimizer, FP16_UnfusedOptimizer):
        for weights, group in zip(optimizer.fp16_groups, optimizer.fp32_groups, strict=True):
            _copy(weights, group)


def _copy(weights: Any, values: Any) -> None:
    for weight, value in zip(weights, values, strict=True):
        weight.data.copy_(value.data)


def _named(engine: DeepSpeedEngine) -> Iterator[tuple[str, Any]]:
    named = module_of(engine).named_parameters(remove_duplicate=False)
    return ((name, parameter) for name, parameter in named if parameter.requires_grad)


def _trained(engine: DeepSpeedEngine) -> list[torch.Tensor]:
    """Returns the trained parameters in the order in which the optimizer numbers its states."""
    optimizer: Any = engine.optimizer
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _at_stage_3(optimizer: Any, parameter: Any) -> Fragment:
    tensor, offset, length = optimizer.grad_position[optimizer.get_param_id(parameter)]
    return Fragment(tensor, offset, length * optimizer._get_param_partition_rank(parameter), length)


def _linked(parameter: Any) -> Fragment:
    link = parameter._hp_mapping
    there, whole = link.hp_fragment_address, link.lp_fragment_address
    return Fragment(link.param_group_index, there.start, whole.start, there.numel)


def _whole(optimizer: Any, engine: DeepSpeedEngine) -> Iterator[tuple[torch.Tensor, Fragment]]:
    """Yields the place of each parameter at stage 0, where every rank holds all of them."""
    if isinstance(optimizer, FP16_Optimizer):
        for tensor, group in enumerate(optimizer.fp16_groups):
            offset = 0
            for parameter in group:
                yield parameter, Fragment(tensor, offset, 0, parameter.numel())
                offset += parameter.numel()
        return
    is_unfused = isinstance(optimizer, FP16_UnfusedOptimizer)
    order = [p for group in optimizer.fp16_groups for p in group] if is_unfused else _trained(engine)
    for tensor, parameter in enumerate(order):
        yield parameter, Fragment(tensor, 0, 0, parameter.numel())
