"""DeepSpeed configs: expert parallelism (AutoEP).

Every refusal is one of module_inject/auto_ep_config.py, auto_ep_folding.py, auto_ep_layer.py and runtime/engine.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zerotrain.check.config.case import ConfigCase, whole
from zerotrain.check.config.partitioning import builds_bf16_optimizer
from zerotrain.check.config.rules.axes import divisors, is_read, sequence_ranks, tensor_ranks
from zerotrain.check.rule import Rule, config_rule
from zerotrain.diagnostic import Diagnostic

CHOICES: Mapping[str, tuple[str | None, ...]] = {
    "preset_model": (None, "mixtral", "qwen3_moe", "qwen3_5_moe", "deepseek_v2", "deepseek_v3", "minimax_m3"),
    "score_apply": ("auto", "pre", "post"),
    "score_func": ("auto", "softmax", "sigmoid"),
    "combine_impl": ("auto", "weighted_sum", "fused_weighted_sum", "legacy_bmm"),
    "row_weighting_impl": ("auto", "eager", "fused"),
    "gate_up_impl": ("separate", "fused"),
    "comm_backend": ("comm", "deepep"),
    "expert_activation": (None, "swiglu", "geglu_tanh", "swiglu_clamped", "swiglu_oai"),
}
"""The only values of the keys that have some."""

LEAST: Mapping[str, int] = {
    "autoep_size": 1,
    "expert_tensor_parallel_size": 1,
    "comm_num_sm": 1,
    "comm_qp_margin": 0,
    "comm_max_tokens_per_rank": 0,
}
"""The smallest values of the keys that take whole numbers."""

SWITCHES = ("validate_folding_routing", "async_split_plan")

ATTRIBUTES = (
    "expert_w1",
    "expert_w2",
    "expert_w3",
    "num_experts_attr",
    "top_k_attr",
    "router_pattern",
    "expert_pattern",
    "shared_experts_pattern",
    "shared_experts_gate_pattern",
)
"""Keys that name an attribute of a module or of the model's config."""


def _is_on(case: ConfigCase) -> bool:
    return is_read(case, "expert_parallel") and case.get("expert_parallel.enabled") is True


def _has_expert_groups(case: ConfigCase) -> bool:
    """Tells whether experts are known to the engine: DeepSpeed's own layers, or those that it makes of others."""
    return case.model == "moe-layers" or (_is_on(case) and case.model != "dense")


def _written(case: ConfigCase) -> Mapping[str, Any]:
    """Returns the section when experts are parallel, else nothing."""
    return case.mapping("expert_parallel") if _is_on(case) else {}


def _expert_ranks(case: ConfigCase) -> int | None:
    """Returns the ranks that share the experts of a layer, or None when what is written is no number."""
    size = _written(case).get("autoep_size", 1)
    return size if whole(size) is not None and size > 0 else None


@config_rule("ZT436", "load-balance-coefficient")
def load_balance_coefficient(case: ConfigCase) -> Iterator[Diagnostic]:
    """A load-balancing coefficient is given for expert parallelism.

    Why: balancing without an auxiliary loss is not implemented; every value but `null` is refused when the config is
    parsed, even with expert parallelism switched off.
    Wrong: `{"expert_parallel": {"enabled": true, "load_balance_coeff": 0.001}}`
    Right: `{"expert_parallel": {"enabled": true}}`
    """
    if is_read(case, "expert_parallel") and case.get("expert_parallel.load_balance_coeff") is not None:
        message = "`load_balance_coeff` is not supported, whatever its value"
        yield case.refused_key("expert_parallel.load_balance_coeff", message, help="remove it")


@config_rule("ZT437", "expert-parallel-choice")
def expert_parallel_choice(case: ConfigCase) -> Iterator[Diagnostic]:
    """A key of expert parallelism has a value that does not exist.

    Why: DeepSpeed knows a few words for each of these keys, and stops at any other when the engine is built.
    Wrong: `{"expert_parallel": {"enabled": true, "preset_model": "mixtral-8x7b"}}`
    Right: `{"expert_parallel": {"enabled": true, "preset_model": "mixtral"}}`
    """
    section = _written(case)
    for name, choices in CHOICES.items():
        if name in section and section[name] not in choices:
            known = ", ".join(f"`{choice}`" for choice in choices if choice is not None)
            yield case.error(f"expert_parallel.{name}", f"`{name}` cannot be `{section[name]}`", help=f"one of {known}")


@config_rule("ZT438", "expert-parallel-number")
def expert_parallel_number(case: ConfigCase) -> Iterator[Diagnostic]:
    """A number of expert parallelism is out of its range.

    Why: sizes must be whole numbers of at least 1, and the tensor parallelism inside an expert is reserved: only 1 is
    accepted. A router cannot choose among more groups than there are.
    Wrong: `{"expert_parallel": {"enabled": true, "autoep_size": 0}}`
    Right: `{"expert_parallel": {"enabled": true, "autoep_size": 4}}`
    """
    section = _written(case)
    for name, least in LEAST.items():
        value = section.get(name, least)
        if not isinstance(value, int) or value < least:
            message = f"`{name}` must be a whole number of at least {least}, and is `{value}`"
            yield case.error(f"expert_parallel.{name}", message)
    if (whole(section.get("expert_tensor_parallel_size")) or 1) > 1:
        message = "experts cannot be split by tensors: `expert_tensor_parallel_size` must be 1"
        yield case.error("expert_parallel.expert_tensor_parallel_size", message, help="remove it")
    groups, chosen = whole(section.get("num_expert_groups")), whole(section.get("num_limited_groups"))
    for name, value in (("num_expert_groups", groups), ("num_limited_groups", chosen)):
        if value is not None and value < 1:
            yield case.error(f"expert_parallel.{name}", f"`{name}` must be at least 1, and is {value}")
    if groups is not None and chosen is not None and chosen > groups >= 1:
        message = f"`num_limited_groups` of {chosen} is more than the {groups} of `num_expert_groups`"
        yield case.error("expert_parallel.num_limited_groups", message)


@config_rule("ZT439", "expert-parallel-kind")
def expert_parallel_kind(case: ConfigCase) -> Iterator[Diagnostic]:
    """A key of expert parallelism holds a value of the wrong kind.

    Why: the section is read without a schema; the kinds are looked at when the engine is built. A name must be that of
    a direct attribute, so it has no dots.
    Wrong: `{"expert_parallel": {"enabled": true, "router_pattern": "mlp.gate"}}`
    Right: `{"expert_parallel": {"enabled": true, "router_pattern": "gate"}}`
    """
    section = _written(case)
    for name in SWITCHES:
        if not isinstance(section.get(name, False), bool):
            yield case.error(f"expert_parallel.{name}", f"`{name}` must be true or false, and is `{section[name]}`")
    if not isinstance(section.get("has_shared_experts"), bool | None):
        yield case.error("expert_parallel.has_shared_experts", "`has_shared_experts` must be true, false or null")
    factor = section.get("routed_scaling_factor", "auto")
    if factor != "auto" and not isinstance(factor, int | float):
        message = f"`routed_scaling_factor` must be a number or `auto`, and is `{factor}`"
        yield case.error("expert_parallel.routed_scaling_factor", message)
    for name in ATTRIBUTES:
        value = section.get(name)
        if value is not None and (not isinstance(value, str) or not value or "." in value):
            message = f"`{name}` must be the name of a direct attribute, without dots, and is `{value}`"
            yield case.error(f"expert_parallel.{name}", message)


@config_rule("ZT440", "expert-ranks-do-not-divide")
def expert_ranks_do_not_divide(case: ConfigCase) -> Iterator[Diagnostic]:
    """The ranks cannot be split into expert-parallel groups of one size.

    Why: every rank belongs to one group of `autoep_size` ranks, so that the size must divide the ranks of a pipeline
    stage.
    Wrong: `{"expert_parallel": {"enabled": true, "autoep_size": 3}}` on 8 ranks
    Right: `{"expert_parallel": {"enabled": true, "autoep_size": 4}}` on 8 ranks
    """
    size, world = _expert_ranks(case), case.world_size
    if size and world and world % size:
        message = f"`autoep_size` of {size} does not divide the {world} ranks"
        yield case.error("expert_parallel.autoep_size", message, help=f"choose one of {divisors(world)}")


@config_rule("ZT441", "expert-kernels-do-not-combine")
def expert_kernels_do_not_combine(case: ConfigCase) -> Iterator[Diagnostic]:
    """Kernels of expert parallelism are chosen that exclude each other.

    Why: DeepEP sends bfloat16 rows through buffers of a size that must be given, and reduces the rows itself; the fused
    row weighting runs only there; the fused gate runs only as a grouped product. DeepSpeed refuses other combinations.
    Wrong: `{"expert_parallel": {"enabled": true, "autoep_size": 4, "comm_backend": "deepep"}}`
    Right: `{"expert_parallel": {"enabled": true, "autoep_size": 4, "comm_backend": "deepep",
    "comm_max_tokens_per_rank": 8192}, "bf16": {"enabled": true}}`
    """
    section, size = _written(case), _expert_ranks(case)
    is_deep, is_parallel = section.get("comm_backend") == "deepep", size is not None and size > 1
    if is_deep and is_parallel and case.on("fp16.enabled"):
        yield case.error("expert_parallel.comm_backend", "`deepep` sends bfloat16 only, and the run is in fp16")
    if is_deep and section.get("comm_max_tokens_per_rank", 0) == 0:
        message = "`deepep` needs `comm_max_tokens_per_rank`, the most tokens a rank can route"
        yield case.error("expert_parallel.comm_backend", message, help="micro-batch size times sequence length")
    if section.get("row_weighting_impl") == "fused" and (size == 1 or section.get("comm_backend", "comm") == "comm"):
        message = "`fused` row weighting needs `comm_backend: deepep` and `autoep_size` above 1"
        yield case.error("expert_parallel.row_weighting_impl", message, help="leave it out")
    if section.get("gate_up_impl") == "fused" and section.get("use_grouped_mm") is False:
        message = "a `fused` gate needs `use_grouped_mm`, which is false"
        yield case.error("expert_parallel.gate_up_impl", message, help="leave it out")
    if section.get("combine_impl") == "fused_weighted_sum" and is_deep and is_parallel:
        message = "`fused_weighted_sum` excludes `deepep`, which reduces the rows itself"
        yield case.error("expert_parallel.combine_impl", message, help="leave it out")


@config_rule("ZT442", "experts-with-tensor-parallelism")
def experts_with_tensor_parallelism(case: ConfigCase) -> Iterator[Diagnostic]:
    """Expert and tensor parallelism are combined with something that excludes it.

    Why: DeepSpeed folds the two only without ZeRO offload, without DeepCompile, without a sequence-parallel mesh, with
    experts before data in the rank order, with more than one expert-parallel rank, and without some of the kernels.
    Wrong: `{"expert_parallel": {"enabled": true}, "tensor_parallel": {"autotp_size": 2}}`
    Right: `{"expert_parallel": {"enabled": true, "autoep_size": 2}, "tensor_parallel": {"autotp_size": 2}}`
    """
    if not _is_on(case) or tensor_ranks(case) == 1:
        return
    for key, needed in _unfoldable(case):
        yield case.error(key, f"expert parallelism with tensor parallelism needs {needed}")


def _unfoldable(case: ConfigCase) -> Iterator[tuple[str, str]]:
    """Yields what keeps experts from being folded with tensor parallelism, each with what is needed instead."""
    section, size = _written(case), _expert_ranks(case)
    if size == 1:
        yield "expert_parallel.autoep_size" if "autoep_size" in section else "expert_parallel", "`autoep_size` above 1"
    elif size and section.get("async_split_plan") is True:
        yield "expert_parallel.async_split_plan", "`async_split_plan` off"
    elif size and section.get("comm_backend") == "deepep":
        yield "expert_parallel.comm_backend", "`comm_backend: comm`"
    if section.get("combine_impl") == "fused_weighted_sum":
        yield "expert_parallel.combine_impl", "another `combine_impl`"
    if case.on("compile.deepcompile"):
        yield "compile.deepcompile", "DeepCompile off"
    if sequence_ranks(case) > 1:
        yield "sequence_parallel_size", "no sequence parallelism"
    if case.get("use_data_before_expert_parallelism") is True:
        yield "use_data_before_expert_parallelism", "experts before data in the rank order"
    for name in ("offload_optimizer", "offload_param"):
        if isinstance(case.get(f"zero_optimization.{name}"), Mapping):
            yield f"zero_optimization.{name}", f"no `{name}` section, not even `device: none`"


@config_rule("ZT443", "two-parallel-presets")
def two_parallel_presets(case: ConfigCase) -> Iterator[Diagnostic]:
    """Tensor and expert parallelism are told of different models.

    Why: both presets describe the one model of the run; DeepSpeed refuses two that differ.
    Wrong: `{"tensor_parallel": {"preset_model": "llama"}, "expert_parallel": {"enabled": true,
    "preset_model": "mixtral"}}`
    Right: `"preset_model": "mixtral"` in both, or in one of them only
    """
    tensor, expert = case.get("tensor_parallel.preset_model"), _written(case).get("preset_model")
    if isinstance(tensor, str) and isinstance(expert, str) and tensor not in (expert, "auto"):
        message = f"`preset_model` is `{expert}` here and `{tensor}` in `tensor_parallel`"
        yield case.error("expert_parallel.preset_model", message, help="name one model, or leave one of them out")


@config_rule("ZT444", "experts-at-stage-3")
def experts_at_stage_3(case: ConfigCase) -> Iterator[Diagnostic]:
    """Expert parallelism at stage 3 is combined with something that excludes it.

    Why: at stage 3 experts are partitioned over their own replicas; quantized gradients, a secondary partition and
    sequence parallelism are refused there.
    Wrong: `{"expert_parallel": {"enabled": true, "autoep_size": 4}, "zero_optimization": {"stage": 3,
    "zero_hpz_partition_size": 8}}`
    Right: the same without `zero_hpz_partition_size`
    """
    if not _is_on(case) or case.stage != 3:
        return
    if case.on("zero_optimization.zero_quantized_gradients"):
        message = "expert parallelism at stage 3 excludes `zero_quantized_gradients`"
        yield case.error("zero_optimization.zero_quantized_gradients", message, help="remove it")
    if (case.number("zero_optimization.zero_hpz_partition_size") or 1) > 1:
        message = "expert parallelism at stage 3 excludes `zero_hpz_partition_size` above 1"
        yield case.error("zero_optimization.zero_hpz_partition_size", message, help="remove it")
    if sequence_ranks(case) > 1:
        message = "expert parallelism at stage 3 excludes sequence parallelism"
        yield case.error("sequence_parallel_size", message, help="use stage 2, or one of the two")


@config_rule("ZT961", "moe-layers-at-stage-3")
def moe_layers_at_stage_3(case: ConfigCase) -> Iterator[Diagnostic]:
    """A model with layers of DeepSpeed's own `MoE` is to be trained at stage 3.

    Why: stage 3 cannot partition experts that live on different ranks already; the engine refuses them, whether or not
    they are spread over ranks. The config does not tell of such layers: `zerotrain lint --model moe-layers` does.
    Wrong: `{"zero_optimization": {"stage": 3}}` with `deepspeed.moe.layer.MoE` in the model
    Right: `{"zero_optimization": {"stage": 2}}`
    """
    if case.model == "moe-layers" and case.stage == 3:
        message = "stage 3 is refused for layers of `deepspeed.moe.layer.MoE`"
        help = "use stage 1 or 2, or a Hugging Face MoE with `expert_parallel`"
        yield case.error("zero_optimization.stage", message, help=help)


@config_rule("ZT962", "muon-with-stacked-experts")
def muon_with_stacked_experts(case: ConfigCase) -> Iterator[Diagnostic]:
    """Muon is to update experts at stage 1, with bf16 weights and fp32 gradients.

    Why: for that combination DeepSpeed builds `BF16_Optimizer`, in which Muon takes matrices of two dimensions and
    data parallelism only; experts are stacked in a third dimension, or live on different ranks. Where the config does
    not tell of experts, `zerotrain lint --model moe` does.
    Wrong: `{"optimizer": {"type": "Muon"}, "zero_optimization": {"stage": 1}, "bf16": {"enabled": true},
    "data_types": {"grad_accum_dtype": "fp32"}, "expert_parallel": {"enabled": true}}`
    Right: the same at stage 2, or without `grad_accum_dtype`
    """
    has_experts = _has_expert_groups(case) or case.model == "moe"
    if has_experts and case.optimizer == "muon" and builds_bf16_optimizer(case):
        message = "Muon cannot update experts at stage 1 with bf16 weights and fp32 gradients"
        yield case.error("optimizer.type", message, help="use stage 2, or leave out `data_types.grad_accum_dtype`")


@config_rule("ZT963", "experts-reduce-otherwise")
def experts_reduce_otherwise(case: ConfigCase) -> Iterator[Diagnostic]:
    """Gradients of experts are to be reduced in a way stages 1 and 2 do not have for them.

    Why: experts are reduced among their own replicas. DeepSpeed has that for a reduce-scatter only, at stage 2 for
    contiguous gradients only, and asserts both.
    Wrong: `{"zero_optimization": {"stage": 2, "reduce_scatter": false}, "expert_parallel": {"enabled": true}}`
    Right: the same without `reduce_scatter`
    """
    if not _has_expert_groups(case) or case.known_stage not in (1, 2) or builds_bf16_optimizer(case):
        return
    needed = ("reduce_scatter", "contiguous_gradients") if case.stage == 2 else ("reduce_scatter",)
    for name in needed:
        is_overruled = name == "contiguous_gradients" and case.device("offload_optimizer") is not None
        if case.value(f"zero_optimization.{name}") is False and not is_overruled:
            message = f"stage {case.stage} needs `{name}` for experts"
            yield case.error(f"zero_optimization.{name}", message, help="remove it")


@config_rule("ZT964", "experts-in-own-optimizer")
def experts_in_the_scripts_optimizer(case: ConfigCase) -> Iterator[Diagnostic]:
    """Experts are parallel at stage 1 or 2, and the optimizer is the script's.

    Why: the experts must stand in parameter groups of their own that are marked as such, or the engine refuses the
    optimizer. It marks them itself only in an optimizer it builds from the config.
    Wrong: `{"zero_optimization": {"stage": 2}, "expert_parallel": {"enabled": true}}`
    Right: the same with `"optimizer": {"type": "AdamW", "params": {"lr": 1e-4}}`
    """
    is_the_scripts = case.optimizer is None and case.reader == "raw" and not case.is_compiled
    if is_the_scripts and _is_on(case) and case.model != "dense" and case.known_stage in (1, 2):
        message = 'the script must put experts into groups with `"moe": True` and `"name": "ep_size_N"`'
        yield case.warning("expert_parallel", message, help="give the config an `optimizer`")


@config_rule("ZT445", "idle-expert-parallel")
def idle_expert_parallel(case: ConfigCase) -> Iterator[Diagnostic]:
    """Expert parallelism has a size, but is not switched on.

    Why: nothing of the section counts without `enabled: true`; every rank keeps all experts.
    Wrong: `{"expert_parallel": {"autoep_size": 4}}`
    Right: `{"expert_parallel": {"enabled": true, "autoep_size": 4}}`
    """
    size = whole(case.get("expert_parallel.autoep_size"))
    is_off = is_read(case, "expert_parallel") and case.get("expert_parallel.enabled") in (None, False)
    if is_off and size is not None and size > 1:
        message = f"`autoep_size` of {size} does nothing while `expert_parallel` is not enabled"
        yield case.info("expert_parallel.autoep_size", message, help="add `enabled: true`, or remove the section")


@config_rule("ZT446", "one-expert-rank")
def one_expert_rank(case: ConfigCase) -> Iterator[Diagnostic]:
    """Expert parallelism is switched on for one rank.

    Why: with an `autoep_size` of 1, which is the default, every rank keeps all experts and no tokens are exchanged;
    DeepSpeed still replaces the layers.
    Wrong: `{"expert_parallel": {"enabled": true}}`
    Right: `{"expert_parallel": {"enabled": true, "autoep_size": 4}}`
    """
    if _is_on(case) and _expert_ranks(case) == 1 and tensor_ranks(case) == 1:
        message = "with `autoep_size` 1 every rank keeps all experts"
        yield case.info("expert_parallel", message, help="set `autoep_size` to the ranks that share the experts")


RULES: tuple[Rule, ...] = (
    load_balance_coefficient,
    expert_parallel_choice,
    expert_parallel_number,
    expert_parallel_kind,
    expert_ranks_do_not_divide,
    expert_kernels_do_not_combine,
    experts_with_tensor_parallelism,
    two_parallel_presets,
    experts_at_stage_3,
    moe_layers_at_stage_3,
    muon_with_stacked_experts,
    experts_reduce_otherwise,
    experts_in_the_scripts_optimizer,
    idle_expert_parallel,
    one_expert_rank,
)
