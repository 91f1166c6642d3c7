"""Tensor parallelism: which layers AutoTP divides, named one by one."""

from __future__ import annotations

from typing import Any

from zerotrain.arch.sharding import TENSOR_SPLITS, TensorSplit
from zerotrain.compile.dsconfig import ZEROTRAIN, Section, Setting
from zerotrain.compile.resolve import Resolved


def emit_tensor_parallel(resolved: Resolved) -> Section:
    """Returns the `tensor_parallel` section, or nothing without tensor parallelism and for a pipeline.

    DeepSpeed would otherwise take transformers' plan, or guess (`_apply_autotp_partitioning` in runtime/engine.py). It
    cannot divide the stages of a pipeline: modeling/division.py does that, by the same plan.
    """
    tp, pp, shape = resolved.spec.parallel.tp, resolved.spec.parallel.pp, resolved.shape
    if tp == 1 or pp > 1 or shape is None or shape.architecture not in TENSOR_SPLITS:
        return {}
    plan = layer_plan(TENSOR_SPLITS[shape.architecture])
    return {
        "tensor_parallel": {
            "autotp_size": Setting(tp, "parallel.tp", "as written"),
            "tp_overlap_comm": Setting(False, ZEROTRAIN, "sums over the group are waited for"),
            "vocab_parallel_lm_head": Setting(False, ZEROTRAIN, "every rank has the whole output matrix"),
            "partition_config": Setting(
                plan, "model.architecture", f"how the layers of {shape.architecture} are divided"
            ),
        }
    }


def layer_plan(split: TensorSplit) -> dict[str, Any]:
    """Returns which layers are divided and how, as AutoTP's `partition_config` has it."""
    layers = [
        {"patterns": [_ending(split.column)], "partition_type": "column"},
        {"patterns": [_ending(split.row)], "partition_type": "row"},
        *(
            [{"patterns": [_ending(split.summed)], "partition_type": "skip", "grad_allreduce": True}]
            * bool(split.summed)
        ),
        {"patterns": [_ending(("lm_head", "embed_tokens"))], "partition_type": "skip"},
    ]
    return {"use_default_specs": False, "strict_mode": True, "layer_specs": layers}


def _ending(names: tuple[str, ...]) -> str:
    """Returns the pattern of the weights of layers with these last names."""
    return rf".*\.?({'|'.join(names)})\.weight$"
