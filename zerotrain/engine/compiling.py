"""The model's code, compiled."""

from __future__ import annotations

from deepspeed import DeepSpeedEngine

from zerotrain.diagnostic import error
from zerotrain.errors import EngineError
from zerotrain.spec.parallelism import CompileSpec


def compile_model(engine: DeepSpeedEngine, chosen: CompileSpec) -> None:
    """Compiles as the spec asks; the work itself is done at the first batches.

    Every shape is compiled for itself: code that is right for several could be other code after a resume, which sees
    shapes in another order, and then the losses would not be the same to the bit. Raises EngineError when DeepSpeed
    gives way to another compiler, of which it says no more than a line in the log.
    """
    if chosen.method == "none":
        return
    options = {"mode": chosen.mode, "fullgraph": chosen.fullgraph, "dynamic": False}
    engine.compile(compile_kwargs=options if chosen.method == "torch" else {})
    if engine.is_deepcompile_active() != (chosen.method == "deepcompile"):
        message = "DeepSpeed uses `torch.compile` in place of DeepCompile"
        raise EngineError(error("ZT803", "engine-differs", message, help="use `method: torch`", key="compile.method"))
