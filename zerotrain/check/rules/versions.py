"""ZT9: raw DeepSpeed keys, and DeepSpeed's own traps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, rule
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.suggest import nearest
from zerotrain.spec.tree import Path, dotted

REMOVED_KEYS = frozenset(
    {
        "amp",
        "compression_training",
        "curriculum_learning",
        "eigenvalue",
        "elasticity",
        "graph_harvesting",
        "nebula",
        "progressive_layer_drop",
        "quantize_training",
        "sparse_attention",
        "sparse_gradients",
    }
)
"""Top-level keys DeepSpeed 0.19 refuses even when they switch a feature off (runtime/config.py)."""

REMOVED_ZERO_KEYS = frozenset({"mics_hierarchical_params_gather", "mics_shard_size", "zeropp_loco_param"})
"""Keys of `zero_optimization` that DeepSpeed 0.19 refuses (runtime/zero/config.py)."""

TOP_LEVEL_KEYS = frozenset(
    {
        "activation_checkpointing",
        "aio",
        "autotuning",
        "bf16",
        "bfloat16",
        "checkpoint",
        "comet",
        "comms_logger",
        "communication_data_type",
        "compile",
        "csv_monitor",
        "data_efficiency",
        "data_parallel_size",
        "data_types",
        "dataloader_drop_last",
        "datastates_ckpt",
        "disable_allgather",
        "disable_python_gc",
        "dump_state",
        "expert_parallel",
        "flops_profiler",
        "fp16",
        "gradient_accumulation_steps",
        "gradient_allreduce_op",
        "gradient_clipping",
        "gradient_predivide_factor",
        "hybrid_engine",
        "log_level",
        "managed_gradient_accumulation",
        "memory_breakdown",
        "optimizer",
        "pipeline",
        "prescale_gradients",
        "scheduler",
        "seq_parallel_communication_data_type",
        "sequence_parallel_size",
        "steps_per_print",
        "tensor_parallel",
        "tensorboard",
        "timers",
        "torch_autocast",
        "train_batch_size",
        "train_micro_batch_size_per_gpu",
        "use_data_before_expert_parallelism",
        "vocabulary_size",
        "wall_clock_breakdown",
        "wandb",
        "weight_quantization",
        "zero_allow_untested_optimizer",
        "zero_force_ds_cpu_optimizer",
        "zero_optimization",
    }
)
"""Top-level keys DeepSpeed 0.19.8 reads (runtime/config.py)."""


@rule("ZT901", "unknown-deepspeed-key")
def unknown_deepspeed_key(case: Case) -> Iterator[Diagnostic]:
    """A key in the `deepspeed` block is not one DeepSpeed reads.

    Why: DeepSpeed ignores unknown top-level keys without a word.
    Wrong: `deepspeed: {wall_clock_brakdown: true}`
    Right: `deepspeed: {wall_clock_breakdown: true}`
    """
    for key in case.spec.deepspeed:
        if key not in TOP_LEVEL_KEYS | REMOVED_KEYS:
            near = nearest(key, TOP_LEVEL_KEYS)
            help = f"did you mean `{near}`?" if near else "remove it"
            yield case.wrong_key(f"deepspeed.{key}", f"DeepSpeed does not read `{key}`", help=help)


@rule("ZT902", "removed-deepspeed-key")
def removed_deepspeed_key(case: Case) -> Iterator[Diagnostic]:
    """A key in the `deepspeed` block is one DeepSpeed has removed.

    Why: DeepSpeed 0.19 refuses the config when such a key is merely present, even with `enabled: false`.
    Wrong: `deepspeed: {elasticity: {enabled: false}}`
    Right: the key removed
    """
    raw = case.spec.deepspeed
    zero = raw.get("zero_optimization")
    removed = [key for key in raw if key in REMOVED_KEYS]
    removed += (
        [f"zero_optimization.{key}" for key in zero if key in REMOVED_ZERO_KEYS] if isinstance(zero, dict) else []
    )
    for key in removed:
        message = f"DeepSpeed 0.19 has removed `{key.rpartition('.')[2]}`"
        yield case.wrong_key(f"deepspeed.{key}", message, help="remove it")


@rule("ZT903", "unfilled-auto")
def unfilled_auto(case: Case) -> Iterator[Diagnostic]:
    """A raw DeepSpeed key is `auto`.

    Why: only frameworks such as HF Trainer fill `auto`; DeepSpeed drops it inside a section and fails on it at the top.
    Wrong: `deepspeed: {aio: {block_size: auto}}`
    Right: `deepspeed: {aio: {block_size: 1048576}}`
    """
    for path in _autos(case.spec.deepspeed, ("deepspeed",)):
        key = dotted(path)
        yield case.error(key, f"nobody fills `{key}: auto`", help="write a value, or remove it")


def _autos(value: Any, path: Path) -> Iterator[Path]:
    if value == "auto":
        yield path
    entries = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in entries:
        yield from _autos(inside, (*path, key))


RULES: tuple[Rule, ...] = (unknown_deepspeed_key, removed_deepspeed_key, unfilled_auto)
