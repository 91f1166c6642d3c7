"""Puts right what DeepSpeed does to a 16-bit model at stage 0 before the first step.

Its 16-bit wrappers make their optimizer states by stepping once with zero gradients (`initialize_optimizer_states` in
runtime/fp16/fused_optimizer.py and unfused_optimizer.py, DeepSpeed 0.19.8). That counts as Adam's first step, so that
the bias correction of the real first one is wrong (its update is 0.746 of the right size), and it applies weight decay.
"""

from __future__ import annotations

from deepspeed import DeepSpeedEngine
from deepspeed.runtime.fp16.fused_optimizer import FP16_Optimizer
from deepspeed.runtime.fp16.unfused_optimizer import FP16_UnfusedOptimizer
from torch._utils import _flatten_dense_tensors


def undo_dummy_step(engine: DeepSpeedEngine) -> None:
    """Returns a 16-bit optimizer at stage 0 to the state before its dummy step; does nothing to others."""
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
