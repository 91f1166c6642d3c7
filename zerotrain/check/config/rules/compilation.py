"""DeepSpeed configs: DeepCompile.

Nothing of it counts before the script calls `engine.compile()`, where most of the refusals below are raised
(`DeepSpeedEngine.compile` in runtime/engine.py, compile/init_z3.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from zerotrain.check.config.case import ConfigCase
from zerotrain.check.config.rules.axes import is_read, sequence_ranks, tensor_ranks
from zerotrain.check.rule import Rule, config_rule
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.suggest import listed

PASSES = ("z1", "z3", "autosp", "autotp")
"""Passes of DeepCompile; compile/config.py."""

DEEPCOMPILE_SWITCHES = (
    "free_activation",
    "offload_activation",
    "offload_opt_states",
    "offload_parameters",
    "symmetric_memory",
)


def _passes(case: ConfigCase) -> tuple[str, ...]:
    """Returns the passes that are chosen by name."""
    passes = case.get("compile.passes") if is_read(case, "compile.passes") else None
    return tuple(name for name in passes if isinstance(name, str)) if isinstance(passes, list) else ()


def _is_on(case: ConfigCase) -> bool:
    return case.on("compile.deepcompile")


@config_rule("ZT831", "compile-must-be-called")
def compile_must_be_called(case: ConfigCase) -> Iterator[Diagnostic]:
    """DeepCompile is switched on, which is not enough.

    Why: the model is compiled when the script calls `engine.compile()`. Without the call training runs as ever, and one
    line of the log says so.
    Wrong: `{"compile": {"deepcompile": true}}` and nothing in the script
    Right: `engine.compile()` after `deepspeed.initialize`
    """
    if _is_on(case) and not case.is_compiled:
        message = "`deepcompile` does nothing until the script calls `engine.compile()`"
        yield case.info("compile.deepcompile", message, help="call it after `deepspeed.initialize`")


@config_rule("ZT832", "deepcompile-falls-back")
def deepcompile_falls_back(case: ConfigCase) -> Iterator[Diagnostic]:
    """DeepCompile is asked for where it gives way to the plain compiler.

    Why: it knows ZeRO stages 1 to 3, sequences only at stages 0 and 1, and tensor parallelism only where there is some.
    Elsewhere DeepSpeed uses `torch.compile` and says so in the log only.
    Wrong: `{"compile": {"deepcompile": true}, "zero_optimization": {"stage": 0}}`
    Right: `{"compile": {"deepcompile": true}, "zero_optimization": {"stage": 1}}`
    """
    passes = _passes(case)
    if not _is_on(case):
        return
    if "autosp" in passes and case.stage >= 2:
        message = f"the `autosp` pass does not work with stage {case.stage}; `torch.compile` is used instead"
        yield case.warning("compile.passes", message, help="use stage 0 or 1")
    elif "autotp" in passes and "autosp" not in passes and tensor_ranks(case) == 1:
        message = "the `autotp` pass needs `tensor_parallel.autotp_size` above 1; `torch.compile` is used instead"
        yield case.warning("compile.passes", message, help="set `autotp_size`, or leave the pass out")
    elif not {"autosp", "autotp"} & {*passes} and case.stage == 0:
        message = "DeepCompile does not work at stage 0; `torch.compile` is used instead"
        yield case.warning("compile.deepcompile", message, help="use stage 1, 2 or 3")


@config_rule("ZT833", "compile-options-do-not-combine")
def compile_options_do_not_combine(case: ConfigCase) -> Iterator[Diagnostic]:
    """Options of DeepCompile are chosen that exclude each other.

    Why: each kind of offloading plans with the whole memory, so only one may be on; the passes for tensors, sequences
    and ZeRO do not compose yet. `engine.compile()` refuses both.
    Wrong: `{"compile": {"deepcompile": true, "offload_activation": true, "offload_opt_states": true},
    "zero_optimization": {"stage": 3}}`
    Right: the same with one of the two
    """
    if not _is_on(case):
        return
    passes = _passes(case)
    is_checked = is_read(case, "compile.autoep_non_moe")  # the checks came with it
    if is_checked and "autotp" in passes and {"autosp", "z1", "z3"} & {*passes}:
        yield case.error("compile.passes", "the `autotp` pass cannot be combined with another", help="leave it alone")
    if is_checked and case.stage == 3 and not {"autosp", "autotp"} & {*passes}:
        yield from _offloads(case)


def _offloads(case: ConfigCase) -> Iterator[Diagnostic]:
    """Yields the kinds of offloading that exclude each other when DeepCompile works at stage 3."""
    chosen = [name for name in ("activation", "parameters", "opt_states") if case.on(f"compile.offload_{name}")]
    if len(chosen) > 1:
        names = " and ".join(f"`offload_{name}`" for name in chosen)
        yield case.error(f"compile.offload_{chosen[-1]}", f"{names} exclude each other", help="keep one of them")
    if "opt_states" in chosen and case.device("offload_optimizer"):
        message = "`offload_opt_states` and `zero_optimization.offload_optimizer` manage the same states"
        yield case.error("compile.offload_opt_states", message, help="keep one of them")


@config_rule("ZT834", "compile-around-experts")
def compile_around_experts(case: ConfigCase) -> Iterator[Diagnostic]:
    """Compiling around parallel experts is combined with something that excludes it.

    Why: `autoep_non_moe` uses `torch.compile` for what surrounds the experts. `engine.compile()` refuses it with
    DeepCompile, at stage 3, with offload, with DeepEP and with tensor or sequence parallelism.
    Wrong: `{"compile": {"autoep_non_moe": true, "deepcompile": true}}`
    Right: `{"compile": {"autoep_non_moe": true}}`
    """
    if not case.on("compile.autoep_non_moe") or not is_read(case, "compile.autoep_non_moe"):
        return
    offloads = case.device("offload_optimizer") or case.device("offload_param")
    backend = case.get("expert_parallel.comm_backend")
    against = [
        "DeepCompile" if _is_on(case) else None,
        "stage 3" if case.stage == 3 else None,
        "offload" if offloads else None,
        f"`comm_backend: {backend}`" if isinstance(backend, str) and backend != "comm" else None,
        "tensor parallelism" if tensor_ranks(case) > 1 else None,
        "sequence parallelism" if sequence_ranks(case) > 1 else None,
    ]
    for name in filter(None, against):
        yield case.error("compile.autoep_non_moe", f"`autoep_non_moe` cannot be combined with {name}", help="remove it")


@config_rule("ZT835", "idle-compile-options")
def idle_compile_options(case: ConfigCase) -> Iterator[Diagnostic]:
    """Options of DeepCompile are set while it is off.

    Why: they are read by DeepCompile only, and `deepcompile` is false unless written.
    Wrong: `{"compile": {"offload_activation": true}}`
    Right: `{"compile": {"deepcompile": true, "offload_activation": true}}`
    """
    if _is_on(case):
        return
    for name in ("passes", *DEEPCOMPILE_SWITCHES):
        if _passes(case) if name == "passes" else case.on(f"compile.{name}") and is_read(case, f"compile.{name}"):
            message = f"`{name}` does nothing without `deepcompile`"
            yield case.ignored_key(f"compile.{name}", message, help="add `deepcompile: true`, or remove it")


@config_rule("ZT819", "unknown-compile-pass")
def unknown_compile_pass(case: ConfigCase) -> Iterator[Diagnostic]:
    """A pass of DeepCompile does not exist.

    Why: the section is read by a model that knows the passes by name (compile/config.py).
    Wrong: `{"compile": {"passes": ["zero3"]}}`
    Right: `{"compile": {"passes": ["z3"]}}`
    """
    passes = case.get("compile.passes")
    for name in passes if isinstance(passes, list) and is_read(case, "compile.passes") else ():
        if name not in PASSES:
            message = f"there is no pass {json.dumps(name)[:40]}"
            yield case.error("compile.passes", message, help=f"use some of {listed(PASSES, 'and')}")


RULES: tuple[Rule, ...] = (
    compile_must_be_called,
    deepcompile_falls_back,
    compile_options_do_not_combine,
    compile_around_experts,
    idle_compile_options,
    unknown_compile_pass,
)
