"""What differs between two specs or two DeepSpeed configs, and what the difference acts on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from zerotrain.compile.compare import ABSENT, unequal
from zerotrain.runs.identity import effect_of, longest_match

Touches = Literal["convergence", "memory", "speed", "logging"]
TOUCHES: Mapping[Touches, str] = {
    "convergence": "changes the loss",
    "memory": "changes what must fit",
    "speed": "changes only how fast it goes",
    "logging": "changes only what is written",
}
"""What a setting acts on, the weightiest first."""

_EXECUTION: Mapping[str, Touches] = {
    "name": "logging",
    "model.attention": "speed",
    "batch": "memory",
    "zero": "memory",
    "zero.overlap_comm": "speed",
    "zero.offload_optimizer.pin_memory": "speed",
    "zero.offload_param.pin_memory": "speed",
    "parallel": "memory",
    "activation_checkpointing": "memory",
    "tiling": "memory",
    "compile": "speed",
    "checkpoint": "logging",
    "ema.evaluate": "logging",
    "evaluation": "logging",
    "evaluation.early_stopping": "convergence",
    "monitor": "logging",
    "export": "logging",
    "hardware": "speed",
    "launch": "speed",
    "software": "convergence",
    "expect": "logging",
}
"""For keys of the spec that do not change the loss; the longest matching path counts."""

_DEEPSPEED: Mapping[str, Touches] = {
    "activation_checkpointing": "memory",
    "aio": "speed",
    "autotuning": "logging",
    "checkpoint": "logging",
    "comet": "logging",
    "comms_logger": "logging",
    "compile": "speed",
    "csv_monitor": "logging",
    "datastates_ckpt": "logging",
    "disable_python_gc": "speed",
    "dump_state": "logging",
    "expert_parallel": "memory",
    "flops_profiler": "logging",
    "memory_breakdown": "logging",
    "pipeline": "memory",
    "sequence_parallel_size": "memory",
    "steps_per_print": "logging",
    "tensor_parallel": "memory",
    "tensorboard": "logging",
    "timers": "logging",
    "wall_clock_breakdown": "logging",
    "wandb": "logging",
    "zero_allow_untested_optimizer": "speed",
    "zero_force_ds_cpu_optimizer": "speed",
    "zero_optimization": "memory",
    "zero_optimization.compute_grad_norm": "convergence",
    "zero_optimization.load_from_fp32_weights": "convergence",
    "zero_optimization.zenflow": "convergence",
    "zero_optimization.zero_quantized_gradients": "convergence",
    "zero_optimization.zero_quantized_nontrainable_weights": "convergence",
    "zero_optimization.zero_quantized_weights": "convergence",
    "zero_optimization.overlap_comm": "speed",
    "zero_optimization.reduce_scatter": "speed",
    "zero_optimization.round_robin_gradients": "speed",
    "zero_optimization.use_multi_rank_bucket_allreduce": "speed",
    "zero_optimization.offload_optimizer.pin_memory": "speed",
    "zero_optimization.offload_param.pin_memory": "speed",
    "zero_optimization.gather_16bit_weights_on_model_save": "logging",
}
"""For keys of DeepSpeed's that do not change the loss; the longest matching path counts."""

_TRIPLE = ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps")


@dataclass(frozen=True)
class Difference:
    """One key with its two values; `ABSENT` where it is not there."""

    key: str
    touches: Touches
    a: Any
    b: Any
    in_a: Any = ABSENT
    """What the key is worth in `a` when it is absent there; `ABSENT` when that is not known."""
    in_b: Any = ABSENT

    def as_json(self) -> dict[str, Any]:
        """Returns the JSON form; a side on which the key is absent is left out."""
        sides = {name: value for name, value in (("a", self.a), ("b", self.b)) if value is not ABSENT}
        return {"key": self.key, "touches": self.touches, **sides}


def spec_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    """Returns how two settled specs differ, given as plain values."""
    return [Difference(key, touched_by_spec(key), one, other) for key, one, other in unequal(a, b, {}, {})]


def config_differences(
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    in_a: Mapping[str, Any] | None = None,
    in_b: Mapping[str, Any] | None = None,
) -> list[Difference]:
    """Returns how two DeepSpeed configs differ; `in_a` and `in_b` say what an absent key is worth on its side."""
    in_a, in_b = in_a or {}, in_b or {}
    fixes_batch = "train_batch_size" in a and "train_batch_size" in b
    return [
        Difference(
            key,
            "memory" if key in _TRIPLE and fixes_batch else touched_by_config(key),
            one,
            other,
            in_a.get(key, ABSENT),
            in_b.get(key, ABSENT),
        )
        for key, one, other in unequal(a, b, in_a, in_b)
    ]


def grouped(differences: Sequence[Difference]) -> Iterator[tuple[Touches, list[Difference]]]:
    """Yields the differences by what they act on, the weightiest first; groups without any are left out."""
    for touches in TOUCHES:
        group = [difference for difference in differences if difference.touches == touches]
        if group:
            yield touches, group


def touched_by_spec(key: str) -> Touches:
    """Returns what a key of the spec acts on."""
    if key == "data.cache":
        return "logging"
    effect = effect_of(key.partition("[")[0])
    return (longest_match(_EXECUTION, key) or "speed") if effect == "execution" else "convergence"


def touched_by_config(key: str) -> Touches:
    """Returns what a key of DeepSpeed's acts on; one that is not known may change anything."""
    return longest_match(_DEEPSPEED, key) or "convergence"
