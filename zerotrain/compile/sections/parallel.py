"""Tensor parallelism: which layers AutoTP divides, named one by one."""

from __future__ import annotations

from zerotrain.arch.sharding import TENSOR_SPLITS
from zerotrain.compile.dsconfig import ZEROTRAIN, Section, Setting
from zerotrain.compile.resolve import Resolved


def emit_tensor_parallel(resolved: Resolved) -> Section:
    """Returns the `tensor_parallel` section, or nothing without tensor parallelism.

    DeepSpeed would otherwise take transformers' plan, or guess (`_apply_autotp_partitioning` in runtime/engine.py).
    """
    tp, shape = resolved.spec.parallel.tp, resolved.shape
    if tp == 1 or shape is None or shape.architecture not in TENSOR_SPLITS:
        return {}
    split = TENSOR_SPLITS[shape.architecture]
    layers = [
        {"patterns": [_ending(split.column)], "partition_type": "column"},
        {"patterns": [_ending(split.row)], "partition_type": "row"},
        *(
            [{"patterns": [_ending(split.summed)], "partition_type": "skip", "grad_allreduce": True}]
            * bool(split.summed)
        ),
        {"patterns": [_ending(("lm_head", "embed_tokens"))], "partition_type": "skip"},
    ]
    plan = {"use_default_specs": False, "strict_mode": True, "layer_specs": layers}
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


def _ending(names: tuple[str, ...]) -> str:
    """Returns the pattern of the weights of layers with these last names."""
    return rf".*\.?({'|'.join(names)})\.weight$"
