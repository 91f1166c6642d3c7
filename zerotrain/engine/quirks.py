"""Puts right what DeepSpeed 0.19.8 does to an optimizer before its first step, or before its next one."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from deepspeed import DeepSpeedEngine
from deepspeed.moe.utils import is_moe_param
from deepspeed.ops.adam import DeepSpeedCPUAdam, FusedAdam
from deepspeed.runtime.fp16.fused_optimizer import FP16_Optimizer
from deepspeed.runtime.fp16.unfused_optimizer import FP16_UnfusedOptimizer
from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer
from torch._utils import _flatten_dense_tensors

from zerotrain.engine.device import on_cpu
from zerotrain.engine.norm import gradient_norm


def undo_dummy_step(engine: DeepSpeedEngine) -> None:
    """Returns a 16-bit optimizer at stage 0 to the state before its dummy step; does nothing to others.

    DeepSpeed's 16-bit wrappers make their optimizer states by stepping once with zero gradients
    (`initialize_optimizer_states` in runtime/fp16/fused_optimizer.py and unfused_optimizer.py). That counts as Adam's
    first step, so that the bias correction of the real first one is wrong (its update is 0.746 of the right size), and
    it applies weight decay.
    """
    wrapper = engine.optimizer
    if isinstance(wrapper, FP16_Optimizer):
        for weights, master in zip(wrapper.fp16_groups, wrapper.fp32_groups_flat, strict=True):
            master.data.copy_(_flatten_dense_tensors(weights).float())
    elif isinstance(wrapper, FP16_UnfusedOptimizer):
        for weights, masters in zip(wrapper.fp16_groups, wrapper.fp32_groups, strict=True):
            for weight, master in zip(weights, masters, strict=True):
                master.data.copy_(weight.float())
    else:
        return
    wrapper.optimizer.state.clear()


def restore_groups(engine: DeepSpeedEngine) -> None:
    """Gives an Adagrad under ZeRO its parameter groups back; does nothing to others.

    ZeRO builds torch's Adagrad anew on its flat partitions, all in one group with the default values (runtime/zero/
    stage_1_and_2.py and stage3.py, `initialize_optimizer_states`): values of a group are lost, and the first step fails
    with an `IndexError` over the second group.
    """
    wrapper: Any = engine.optimizer
    basic: Any = engine.basic_optimizer
    stepping: Any = getattr(wrapper, "optimizer", None)
    if not isinstance(stepping, torch.optim.Adagrad) or stepping is basic:
        return
    partitions = stepping.param_groups[0]["params"]
    owners = getattr(wrapper, "sub_group_to_group_id", {place: place for place in range(len(partitions))})
    stepping.param_groups = [
        group | {"params": [partition for place, partition in enumerate(partitions) if owners[place] == index]}
        for index, group in enumerate(basic.param_groups)
    ]
    if isinstance(wrapper, DeepSpeedZeroOptimizer):
        # Parameters were tied to their partitions for the first group alone.
        wrapper._link_all_hp_params()
        wrapper._enable_universal_checkpoint()
        wrapper._param_slice_mappings = wrapper._create_param_mapping()


def drop_orphaned_states(engine: DeepSpeedEngine) -> None:
    """Drops optimizer states of parameters that the optimizer no longer has.

    torch's Adagrad makes its states when it is built; DeepSpeed then gives it other parameters (runtime/
    bf16_optimizer.py), and saving a checkpoint fails with a `KeyError` over the old ones.
    """
    basic: Any = engine.basic_optimizer
    owned: set[torch.Tensor] = {parameter for group in basic.param_groups for parameter in group["params"]}
    for parameter in [parameter for parameter in basic.state if parameter not in owned]:
        del basic.state[parameter]


def refuse_nonfinite_gradients(engine: DeepSpeedEngine, norm: Callable[[], float]) -> None:
    """Lets stage 0 in fp32 report the norm of the gradient and skip an update when it is not finite, as others do.

    There the engine steps torch's optimizer whatever the gradient is, and reports no norm (`_take_model_step` in
    runtime/engine.py); it only looks at an attribute `overflow` afterwards.
    """
    if engine.zero_optimization() or engine.bfloat16_enabled() or engine.fp16_enabled():
        return
    optimizer: Any = engine.optimizer
    take_step, make_step = engine._take_model_step, optimizer.step

    def measured_step(lr_kwargs: Any) -> None:
        engine._global_grad_norm = norm()
        optimizer.overflow = not math.isfinite(engine._global_grad_norm)
        take_step(lr_kwargs)

    def step_unless_overflow(*arguments: Any, **named: Any) -> Any:
        return None if optimizer.overflow else make_step(*arguments, **named)

    engine._take_model_step, optimizer.step = measured_step, step_unless_overflow


def let_loss_scale_stay(engine: DeepSpeedEngine) -> None:
    """Keeps fp16's loss scale at its smallest instead of ending the process with a bare exception.

    `DynamicLossScaler.update_scale` (runtime/fp16/loss_scaler.py) raises under ZeRO, and not at stage 0; what follows
    from an overflow at the smallest scale is decided in one place, `engine/health.py`.
    """
    scaler: Any = getattr(engine.optimizer, "loss_scaler", None)
    if hasattr(scaler, "raise_error_at_min_scale"):
        scaler.raise_error_at_min_scale = False


def clip_by_whole_norm(engine: DeepSpeedEngine) -> None:
    """Lets stage 0 in fp32 clip by the norm of the whole gradient where experts live on several ranks.

    DeepSpeed takes the norm of what a rank holds, its own experts among it, and clips by the mean of these norms over
    the ranks (`clip_grad_norm_` in runtime/utils.py), which is not the norm of the whole.
    """
    if any(is_moe_param(parameter) for parameter in engine.parameters()):
        engine.clip_fp32_gradients = partial(_clip, engine)


def _clip(engine: DeepSpeedEngine) -> None:
    torch.nn.utils.clip_grads_with_norm_(engine.parameters(), engine.gradient_clipping(), gradient_norm(engine))


def replay_bias_correction(engine: DeepSpeedEngine) -> None:
    """Brings Adam's powers of its betas on a CPU to where an uninterrupted run has them; does nothing to others.

    The C++ optimizer multiplies its powers step by step, but after a gap in the steps it takes `std::pow`
    (`IncrementStep` in csrc/includes/cpu_adam.h), which rounds otherwise: a resumed run would differ in the last bit.
    So it is walked through the steps that were made, with nothing to update.
    """
    adam: Any = engine.basic_optimizer
    update = _empty_update(adam)
    if update is None:
        return
    steps = max((int(state["step"]) for state in adam.state.values() if "step" in state), default=0)
    for step in range(1, steps + 1):
        update(step)


def _empty_update(adam: Any) -> Callable[[int], Any] | None:
    """Returns what tells the C++ optimizer that a step is made, or None where there is no such optimizer."""
    nothing = torch.zeros(0)
    beta1, beta2 = adam.param_groups[0].get("betas", (0.0, 0.0))
    if isinstance(adam, DeepSpeedCPUAdam):
        return lambda step: adam.ds_opt_adam.adam_update(
            adam.opt_id, step, 0.0, beta1, beta2, 1.0, 0.0, True, nothing, nothing, nothing, nothing
        )
    if isinstance(adam, FusedAdam) and on_cpu():
        lists = [[nothing] for _ in range(4)]
        return lambda step: adam.multi_tensor_adam(
            0, adam._dummy_overflow_buf, lists, 0.0, beta1, beta2, 1.0, step, adam.adam_w_mode, 1, 0.0
        )
    return None
