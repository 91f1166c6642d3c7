"""ZT4: compiling the model's code."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, rule
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.suggest import listed

_TASKS = ("pretrain", "sft", "distill", "image_classification")
"""Their batches have one shape."""


@rule("ZT453", "cannot-be-compiled")
def cannot_be_compiled(case: Case) -> Iterator[Diagnostic]:
    """The model is to be compiled where that is not available.

    Why: DeepCompile is for CUDA and for ZeRO stages 1 to 3; elsewhere DeepSpeed uses `torch.compile` in its place and
    says so in the log only. Each length of a batch is compiled for itself, and after eight `torch.compile` gives up
    without an error, so batches need to have one. The exchange of tokens, stretches and activations between ranks has
    not been shown to have the same loss when it is compiled.
    Wrong: `{compile: deepcompile, zero: {stage: 0}}`
    Right: `{compile: torch, zero: {stage: 0}}`
    """
    chosen, spec = case.spec.compile, case.spec
    if chosen.method == "none":
        return
    if chosen.method == "deepcompile" and spec.zero.stage == 0:
        message = "DeepCompile does not work at ZeRO stage 0"
        yield case.error("compile.method", message, help="use `method: torch`, or `zero.stage: 1`")
    if chosen.method == "deepcompile" and case.gpu is not None and case.gpu.host:
        yield case.error("compile.method", "DeepCompile needs a CUDA GPU", help="use `method: torch`")
    for axis in ("pp", "sp", "ep"):
        if getattr(spec.parallel, axis) > 1:
            message = f"`compile` is not available with `{axis}: {getattr(spec.parallel, axis)}`"
            yield case.error("compile.method", message, help="remove one of the two")
    if spec.task.type not in _TASKS:
        message = f"`compile` is not available for `{spec.task.type}`, whose batches have many lengths"
        yield case.error("compile.method", message, help=f"compile only for {listed(_TASKS, 'and')}")
    if spec.moe is not None:
        yield case.error("compile.method", "`compile` is not available with `moe`", help="remove one of the two")


@rule("ZT454", "idle-compile-option")
def idle_compile_option(case: Case) -> Iterator[Diagnostic]:
    """An option of `torch.compile` is set where nothing is compiled by it.

    Why: `mode` and `fullgraph` go to `torch.compile`; DeepCompile has a plan of its own.
    Wrong: `compile: {mode: max-autotune}`
    Right: `compile: {method: torch, mode: max-autotune}`
    """
    chosen = case.spec.compile
    if chosen.method != "torch":
        for option in sorted(chosen.model_fields_set - {"method"}):
            message = f"`{option}` is ignored without `method: torch`"
            yield case.warning(f"compile.{option}", message, help="set it, or remove this")


RULES: tuple[Rule, ...] = (cannot_be_compiled, idle_compile_option)
