"""Batch arithmetic and how gradients are averaged."""

from __future__ import annotations

from zerotrain.compile.dsconfig import ZEROTRAIN, Section, Setting
from zerotrain.compile.resolve import Resolved


def emit_batch(resolved: Resolved) -> Section:
    """Returns the batch triple; DeepSpeed asserts its identity against the number of ranks.

    With tensor or sequence parallelism the global batch is left out: DeepSpeed takes all ranks for data-parallel ones
    when it reads the triple (runtime/config.py), for `zero.Init` even with Ulysses, and would find another.
    """
    batch = resolved.spec.batch
    whole = Setting(batch.global_batch_size, "batch.global_batch_size", "as written")
    return {
        **({"train_batch_size": whole} if resolved.topology.tp * resolved.topology.sp == 1 else {}),
        "train_micro_batch_size_per_gpu": Setting(batch.micro_batch_size, "batch.micro_batch_size", "as written"),
        "gradient_accumulation_steps": Setting(
            batch.gradient_accumulation_steps,
            "batch.gradient_accumulation_steps",
            resolved.derivations.get("batch.gradient_accumulation_steps", "as written"),
        ),
        "managed_gradient_accumulation": Setting(True, ZEROTRAIN, "DeepSpeed counts the micro-batches of a step"),
        "gradient_allreduce_op": Setting(
            "mean", ZEROTRAIN, "the loss is scaled so that the mean over ranks is the mean over all trained tokens"
        ),
        "prescale_gradients": Setting(False, ZEROTRAIN, "gradients are divided after the reduction"),
        "gradient_predivide_factor": Setting(1.0, ZEROTRAIN, "gradients are divided after the reduction"),
    }
