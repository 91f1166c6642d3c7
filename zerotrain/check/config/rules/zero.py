"""DeepSpeed configs: ZeRO and ZeRO++."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zerotrain.check.config.case import AUTO, ConfigCase, whole
from zerotrain.check.config.conversion import number_in
from zerotrain.check.config.partitioning import (
    Z,
    asked,
    builds_bf16_optimizer,
    may_build_bf16_optimizer,
    zenflow_is_on,
)
from zerotrain.check.config.rules.zeropp import RULES as ZEROPP_RULES
from zerotrain.check.config.rules.zeropp import ZEROPP_SETTINGS
from zerotrain.check.rule import Rule, config_rule
from zerotrain.diagnostic import Diagnostic

_PREFIXED: Mapping[str, Any] = {
    "prefetch_bucket_size": None,
    "param_persistence_threshold": None,
    "model_persistence_threshold": None,
    "max_live_parameters": None,
    "max_reuse_distance": None,
    "gather_16bit_weights_on_model_save": False,
    "module_granularity_threshold": 0,
    "use_all_reduce_for_fetch_params": False,
    "allgather_sequential": False,
}
STAGE_3_SETTINGS: Mapping[str, Any] = {
    **_PREFIXED,
    **{f"stage3_{name}": default for name, default in _PREFIXED.items()},
    "sub_group_size": None,
    "leaf_module": None,
    "stage3_gather_fp16_weights_on_model_save": False,
    "log_trace_cache_warnings": False,
    "enable_sanity_checks": False,
    "save_muon_momentum_buffer_in_memory": False,
}
"""Keys that only stage 3 reads, with the value that asks for nothing (None: any value asks); runtime/engine.py."""

STAGE_1_2_SETTINGS: Mapping[str, Any] = {
    "allgather_bucket_size": None,
    "round_robin_gradients": False,
    "ignore_unused_parameters": True,
    "use_multi_rank_bucket_allreduce": True,
    "parameter_alignment": False,
    "elastic_checkpoint": False,
}
"""Keys that only stages 1 and 2 read, in the same form; runtime/engine.py."""

BF16_OPTIMIZER_IGNORES: Mapping[str, Any] = {
    **{name: default for name, default in STAGE_1_2_SETTINGS.items() if name != "allgather_bucket_size"},
    "reduce_bucket_size": None,
    "reduce_scatter": True,
    "overlap_comm": False,
    "contiguous_gradients": True,
    "legacy_stage1": False,
}
"""Keys of stage 1 that `BF16_Optimizer` is not given, in the same form; runtime/engine.py."""

_HEARD_AT_STAGE_0 = {
    *("stage", "offload_optimizer", "offload_param", "zenflow", "cpu_offload", "cpu_offload_param"),
    *("cpu_offload_use_pin_memory", "memory_efficient_linear", "override_module_apply", "allgather_partitions"),
    *("compute_grad_norm", "load_from_fp32_weights", *ZEROPP_SETTINGS),
}
"""Keys with a rule of their own, and those that are not the engine's."""


@config_rule("ZT320", "settings-at-stage-0")
def settings_at_stage_0(case: ConfigCase) -> Iterator[Diagnostic]:
    """ZeRO is set up, and its stage is 0 or not given.

    Why: stage 0, the default, switches ZeRO off: nothing is partitioned, and DeepSpeed does not look at the other
    settings of the section.
    Wrong: `{"zero_optimization": {"overlap_comm": true, "reduce_bucket_size": 5e8}}`
    Right: `{"zero_optimization": {"stage": 2, "overlap_comm": true, "reduce_bucket_size": 5e8}}`
    """
    if case.known_stage != 0 or case.on("compile.deepcompile") or case.mapping("pipeline"):
        return
    known = (name for name in case.mapping(Z) if isinstance(name, str) and case.schema.key(f"{Z}.{name}"))
    set_up = [name for name in known if name not in _HEARD_AT_STAGE_0 and _means(case.get(f"{Z}.{name}"))]
    if set_up:
        written = case.has(f"{Z}.stage")
        names = f"`{set_up[0]}` does" if len(set_up) == 1 else f"`{set_up[0]}` and {len(set_up) - 1} more do"
        reason = "stage 0 switches ZeRO off" if written else "without a `stage` ZeRO is off"
        yield case.warning(
            f"{Z}.stage" if written else Z, f"{reason}: {names} nothing", help="set `stage` to 1, 2 or 3"
        )


def _means(value: Any) -> bool:
    return value is not None and value is not False and value not in (AUTO, {})


@config_rule("ZT321", "stage-3-setting")
def stage_3_setting(case: ConfigCase) -> Iterator[Diagnostic]:
    """A setting of stage 3 stands in a config of stage 1 or 2.

    Why: these settings are about fetching, keeping and updating partitioned parameters. Below stage 3 parameters are
    not partitioned; DeepSpeed accepts the settings and never reads them.
    Wrong: `{"zero_optimization": {"stage": 2, "stage3_max_live_parameters": 1e9}}`
    Right: `{"zero_optimization": {"stage": 2}}`
    """
    stage = case.known_stage
    for name in asked(case, STAGE_3_SETTINGS) if stage in (1, 2) else ():
        message = f"only stage 3 reads `{name}`; stage {stage} ignores it"
        yield case.ignored_key(f"{Z}.{name}", message, help="remove it, or use `stage: 3`")


@config_rule("ZT322", "stage-1-2-setting")
def stage_1_2_setting(case: ConfigCase) -> Iterator[Diagnostic]:
    """A setting of stages 1 and 2 stands in a config of stage 3.

    Why: stage 3 is another optimizer with other settings; it is never given these. `stage3_prefetch_bucket_size` and
    `stage3_max_live_parameters` bound what it gathers. `elastic_checkpoint` has a successor in universal checkpoints.
    Wrong: `{"zero_optimization": {"stage": 3, "allgather_bucket_size": 2e8}}`
    Right: `{"zero_optimization": {"stage": 3, "stage3_prefetch_bucket_size": 5e7}}`
    """
    for name in asked(case, STAGE_1_2_SETTINGS) if case.known_stage == 3 else ():
        yield case.ignored_key(
            f"{Z}.{name}", f"only stages 1 and 2 read `{name}`; stage 3 ignores it", help="remove it"
        )


@config_rule("ZT323", "bf16-optimizer-setting")
def bf16_optimizer_setting(case: ConfigCase) -> Iterator[Diagnostic]:
    """A setting of stage 1 has no effect with bf16 weights and fp32 gradients.

    Why: for that combination, without offload to the CPU, DeepSpeed builds `BF16_Optimizer` instead of its ZeRO
    optimizer; of these settings it is given `allgather_bucket_size` only.
    Wrong: `{"zero_optimization": {"stage": 1, "overlap_comm": true}, "bf16": {"enabled": true},
    "data_types": {"grad_accum_dtype": "fp32"}}`
    Right: the same at stage 2
    """
    for name in asked(case, BF16_OPTIMIZER_IGNORES) if builds_bf16_optimizer(case) else ():
        message = f"stage 1 with bf16 weights and fp32 gradients ignores `{name}`"
        yield case.ignored_key(f"{Z}.{name}", message, help="remove it, or use `stage: 2`")


def _scalings(case: ConfigCase) -> Iterator[str]:
    """Yields the top-level keys that scale gradients before they are reduced."""
    if case.on("prescale_gradients"):
        yield "prescale_gradients"
    if case.number("gradient_predivide_factor") not in (None, 1):
        yield "gradient_predivide_factor"


def _averages(case: ConfigCase) -> bool:
    op = case.value("gradient_allreduce_op")
    return not (isinstance(op, str) and op.lower() == "sum")


@config_rule("ZT330", "refused-gradient-scaling")
def refused_gradient_scaling(case: ConfigCase) -> Iterator[Diagnostic]:
    """Gradients are to be scaled before a reduce-scatter.

    Why: stages 2 and 3 assert that they scale nothing while `reduce_scatter` is on, which is the default.
    Wrong: `{"zero_optimization": {"stage": 2}, "prescale_gradients": true}`
    Right: `{"zero_optimization": {"stage": 2, "reduce_scatter": false}, "prescale_gradients": true}`
    """
    stage, scatters = case.known_stage, case.value(f"{Z}.reduce_scatter") is not False
    if scatters and (stage == 3 or (stage == 2 and _averages(case))):
        for key in _scalings(case):
            message = f"stage {stage} refuses `{key}` while `reduce_scatter` is on"
            yield case.error(key, message, help="remove it, or set `reduce_scatter` to false")


@config_rule("ZT331", "ignored-gradient-scaling")
def ignored_gradient_scaling(case: ConfigCase) -> Iterator[Diagnostic]:
    """Gradients are to be scaled before a reduce-scatter at stage 1.

    Why: where stages 2 and 3 refuse it, stage 1 says nothing and averages as always.
    Wrong: `{"zero_optimization": {"stage": 1}, "prescale_gradients": true}`
    Right: `{"zero_optimization": {"stage": 1, "reduce_scatter": false}, "prescale_gradients": true}`
    """
    scatters = case.value(f"{Z}.reduce_scatter") is not False
    if case.known_stage == 1 and scatters and not may_build_bf16_optimizer(case):
        for key in _scalings(case):
            message = f"stage 1 ignores `{key}` while `reduce_scatter` is on"
            yield case.warning(key, message, help="remove it, or set `reduce_scatter` to false")


@config_rule("ZT332", "odd-allgather-bucket")
def odd_allgather_bucket(case: ConfigCase) -> Iterator[Diagnostic]:
    """The bucket of the all-gather holds an odd number of elements.

    Why: stages 1 and 2 align buckets to two elements of 16 bits, and assert an even size.
    Wrong: `{"zero_optimization": {"stage": 2, "allgather_bucket_size": 199999999}}`
    Right: `{"zero_optimization": {"stage": 2, "allgather_bucket_size": 200000000}}`
    """
    written = case.value(f"{Z}.allgather_bucket_size")
    size = whole(number_in(written) if isinstance(written, str) else written)
    if case.known_stage in (1, 2) and size and size % 2 and not may_build_bf16_optimizer(case):
        message = f"`allgather_bucket_size` of {size} is odd"
        yield case.error(f"{Z}.allgather_bucket_size", message, help="use an even number")


@config_rule("ZT333", "refused-norm-switch")
def refused_norm_switch(case: ConfigCase) -> Iterator[Diagnostic]:
    """The gradient norm is switched off where it is needed.

    Why: only the ZeRO optimizer of stages 1 and 2 can do without the norm, and only when nothing needs it: not with
    clipping, which is on at 1.0 unless `gradient_clipping` is 0, nor with offload, ZenFlow or `BF16_Optimizer`.
    Wrong: `{"zero_optimization": {"stage": 2, "compute_grad_norm": false}}`
    Right: `{"zero_optimization": {"stage": 2, "compute_grad_norm": false}, "gradient_clipping": 0}`
    """
    stage = case.known_stage
    if case.value(f"{Z}.compute_grad_norm") is not False or stage is None:
        return
    for reason in _needs_of_the_norm(case, stage):
        message = f"`compute_grad_norm: false` is refused {reason}"
        yield case.error(f"{Z}.compute_grad_norm", message, help="remove it")


def _needs_of_the_norm(case: ConfigCase, stage: int) -> Iterator[str]:
    clip = case.number("gradient_clipping")
    if stage in (0, 3):
        yield f"at stage {stage}"
    elif builds_bf16_optimizer(case):
        yield "at stage 1 with bf16 weights and fp32 gradients"
    else:
        if clip is not None and clip > 0:
            yield f"with `gradient_clipping` {clip:g}" + ("" if case.has("gradient_clipping") else ", the default")
        if zenflow_is_on(case):
            yield "with `zenflow`"
        if case.device("offload_optimizer"):
            yield "with `offload_optimizer`"


@config_rule("ZT334", "legacy-stage-1")
def legacy_stage_1(case: ConfigCase) -> Iterator[Diagnostic]:
    """The first implementation of stage 1 is asked for.

    Why: it is gone since DeepSpeed 0.5.9; `deepspeed.initialize` raises an exception.
    Wrong: `{"zero_optimization": {"stage": 1, "legacy_stage1": true}}`
    Right: `{"zero_optimization": {"stage": 1}}`
    """
    if case.known_stage in (1, 2, 3) and case.on(f"{Z}.legacy_stage1") and not may_build_bf16_optimizer(case):
        message = "`legacy_stage1` is gone since DeepSpeed 0.5.9"
        yield case.refused_key(f"{Z}.legacy_stage1", message, help="remove it")


@config_rule("ZT335", "refused-gradient-sum")
def refused_gradient_sum(case: ConfigCase) -> Iterator[Diagnostic]:
    """Gradients are to be summed where DeepSpeed can only average.

    Why: stage 3, ZenFlow and DeepCompile divide by the number of ranks in their own kernels.
    Wrong: `{"zero_optimization": {"stage": 3}, "gradient_allreduce_op": "sum"}`
    Right: `{"zero_optimization": {"stage": 2}, "gradient_allreduce_op": "sum"}`
    """
    if _averages(case) or case.schema.key("gradient_allreduce_op") is None:
        return
    reasons = {
        "ZeRO stage 3": case.known_stage == 3,
        "ZenFlow": zenflow_is_on(case),
        "DeepCompile": case.on("compile.deepcompile"),
    }
    for reason in (reason for reason, holds in reasons.items() if holds):
        message = f"`gradient_allreduce_op: sum` is not supported with {reason}"
        yield case.error("gradient_allreduce_op", message, help="use `mean`, and scale the loss")


@config_rule("ZT336", "unmanaged-accumulation-with-overlap")
def unmanaged_accumulation_with_overlap(case: ConfigCase) -> Iterator[Diagnostic]:
    """The script accumulates gradients itself, and stage 0 or 1 is to overlap their reduction.

    Why: below stage 2 gradients are reduced at the end of an accumulation, which DeepSpeed does not know then; it
    asserts that nothing overlaps.
    Wrong: `{"zero_optimization": {"stage": 1, "overlap_comm": true}, "managed_gradient_accumulation": false}`
    Right: `{"zero_optimization": {"stage": 1, "overlap_comm": false}, "managed_gradient_accumulation": false}`
    """
    overlaps = case.on(f"{Z}.overlap_comm")
    if case.known_stage in (0, 1) and overlaps and case.value("managed_gradient_accumulation") is False:
        message = f"stage {case.known_stage} refuses `overlap_comm` with `managed_gradient_accumulation: false`"
        yield case.error(f"{Z}.overlap_comm", message, help="set it to false, or use `stage: 2`")


@config_rule("ZT337", "dead-allgather-switch")
def dead_allgather_switch(case: ConfigCase) -> Iterator[Diagnostic]:
    """The all-gather of updated weights is to be switched off.

    Why: DeepSpeed reads both keys and nothing asks for them any more: it always gathers.
    Wrong: `{"zero_optimization": {"stage": 2, "allgather_partitions": false}}`
    Right: `{"zero_optimization": {"stage": 2}}`
    """
    if case.get(f"{Z}.allgather_partitions") is False:
        message = "`allgather_partitions` does nothing: DeepSpeed always gathers"
        yield case.ignored_key(f"{Z}.allgather_partitions", message, help="remove it")
    if case.get("disable_allgather") is True:
        message = "`disable_allgather` does nothing: DeepSpeed always gathers"
        yield case.ignored_key("disable_allgather", message, help="remove it")


_GATHER = tuple(
    f"{Z}.{name}"
    for name in (
        *("stage3_gather_16bit_weights_on_model_save", "gather_16bit_weights_on_model_save"),
        "stage3_gather_fp16_weights_on_model_save",
    )
)


def _gather_key(case: ConfigCase) -> str:
    return next((key for key in _GATHER if case.has(key)), Z)


def _weights_stay_apart(case: ConfigCase) -> bool:
    """Tells whether stage 3 keeps the weights in parts when a script asks for the whole model."""
    given = [case.get(key) for key in _GATHER if case.has(key)]
    gathers = any(case.on(key) for key in _GATHER) or (AUTO in given and case.reader != "raw")
    return case.known_stage == 3 and not gathers and not case.is_compiled


@config_rule("ZT338", "trainer-saves-no-weights")
def trainer_saves_no_weights(case: ConfigCase) -> Iterator[Diagnostic]:
    """HF Trainer is to train at stage 3 without gathering the weights when it saves.

    Why: `save_model` then finds only parts of the weights; it writes a DeepSpeed checkpoint and no model file, except
    for an adapter. `zero_to_fp32.py` in the checkpoint makes the weights of it.
    Wrong: `{"zero_optimization": {"stage": 3}}`
    Right: `{"zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": true}}`
    """
    if case.reader == "hf" and _weights_stay_apart(case):
        message = "at stage 3 HF Trainer saves no model weights without `stage3_gather_16bit_weights_on_model_save`"
        yield case.warning(
            _gather_key(case), message, help="set it to true, or convert checkpoints with `zero_to_fp32.py`"
        )


@config_rule("ZT339", "ungathered-weights")
def ungathered_weights(case: ConfigCase) -> Iterator[Diagnostic]:
    """Stage 3 is not to gather the weights when the model is saved.

    Why: `save_checkpoint` works all the same, but `save_16bit_model` then writes nothing and returns False, and
    Accelerate's `get_state_dict` fails.
    Wrong: `{"zero_optimization": {"stage": 3}}` with a script that calls `engine.save_16bit_model`
    Right: `{"zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": true}}`
    """
    if case.reader != "hf" and _weights_stay_apart(case):
        call = "`save_16bit_model` writes nothing" if case.reader == "raw" else "`get_state_dict` fails"
        message = f"without `stage3_gather_16bit_weights_on_model_save`, {call} at stage 3"
        yield case.info(
            _gather_key(case), message, help="set it to true, or convert checkpoints with `zero_to_fp32.py`"
        )


RULES: tuple[Rule, ...] = (
    settings_at_stage_0,
    stage_3_setting,
    stage_1_2_setting,
    bf16_optimizer_setting,
    refused_gradient_scaling,
    ignored_gradient_scaling,
    odd_allgather_bucket,
    refused_norm_switch,
    legacy_stage_1,
    refused_gradient_sum,
    unmanaged_accumulation_with_overlap,
    dead_allgather_switch,
    trainer_saves_no_weights,
    ungathered_weights,
    *ZEROPP_RULES,
)
