"""The pipeline engine's own section; how many stages there are is no key of it."""

from __future__ import annotations

from zerotrain.compile.dsconfig import ZEROTRAIN, Section, Setting
from zerotrain.compile.resolve import Resolved


def emit_pipeline(resolved: Resolved) -> Section:
    """Returns the keys that the pipeline engine reads, when the model is divided into stages.

    `stages`, `partition` and `seed_layers` are read and never looked at (runtime/config.py, DeepSpeed 0.19.8).
    """
    if resolved.spec.parallel.pp == 1:
        return {}
    whole = "each rank of a stage has them from, and for, its own neighbour"
    return {
        "pipeline": {
            "activation_checkpoint_interval": Setting(
                0,
                ZEROTRAIN,
                "the model's own layers recompute, where `activation_checkpointing` says so",
            ),
            "pipe_partitioned": Setting(False, ZEROTRAIN, f"activations travel whole: {whole}"),
            "grad_partitioned": Setting(False, ZEROTRAIN, f"gradients travel whole: {whole}"),
            "use_reentrant": Setting(False, ZEROTRAIN, "torch's own checkpointing, were there any between the layers"),
        }
    }
