"""What is neither arithmetic nor memory: activation checkpointing, compilers, monitors, checkpoints, logging."""

from __future__ import annotations

from zerotrain.compile.dsconfig import ZEROTRAIN, Section, Setting
from zerotrain.compile.resolve import Resolved


def emit_activation_checkpointing(resolved: Resolved) -> Section:
    """Returns the section when DeepSpeed's own checkpointing is chosen; the engine never applies it by itself."""
    chosen = resolved.spec.activation_checkpointing
    if chosen.granularity == "none" or chosen.implementation != "deepspeed":
        return {}
    source = "activation_checkpointing"
    return {
        "activation_checkpointing": {
            "partition_activations": Setting(
                chosen.partition_activations, f"{source}.partition_activations", "as written"
            ),
            "cpu_checkpointing": Setting(chosen.cpu_checkpointing, f"{source}.cpu_checkpointing", "as written"),
            "contiguous_memory_optimization": Setting(False, ZEROTRAIN, "needs partitioned activations"),
            "synchronize_checkpoint_boundary": Setting(False, ZEROTRAIN, "only for profiling"),
            "profile": Setting(False, ZEROTRAIN, "only for profiling"),
        }
    }


def emit_compile(resolved: Resolved) -> Section:
    """Returns the section when a compiler is chosen; which of both it is, since the engine is told to compile."""
    method = resolved.spec.compile.method
    if method == "none":
        return {}
    return {"compile": {"deepcompile": Setting(method == "deepcompile", "compile.method", "as written")}}


def emit_monitors(resolved: Resolved) -> Section:
    """Returns DeepSpeed's monitors, for use without zerotrain; inside a run zerotrain writes the events itself."""
    if not resolved.spec.monitor.tensorboard:
        return {}
    return {
        "tensorboard": {
            "enabled": Setting(True, "monitor.tensorboard", "as written"),
            "output_path": Setting(f"runs/{resolved.spec.name}/tensorboard", "name", "inside the run directory"),
            "job_name": Setting(resolved.spec.name, "name", "as written"),
        }
    }


def emit_housekeeping(resolved: Resolved) -> Section:
    """Returns what concerns logs and checkpoint tags."""
    return {
        "steps_per_print": Setting(100, ZEROTRAIN, "DeepSpeed's own line in the rank log, now and then"),
        "wall_clock_breakdown": Setting(False, ZEROTRAIN, "its timers synchronize the device"),
        "checkpoint": {"tag_validation": Setting("Fail", ZEROTRAIN, "ranks that save different steps stop the run")},
    }
