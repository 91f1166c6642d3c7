"""DeepSpeed configs: expert parallelism."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from deepspeed.module_inject.auto_ep_config import parse_autoep_config, validate_autoep_config
from deepspeed.runtime.config import DeepSpeedConfig

from zerotrain.diagnostic import Diagnostic, Severity

Lint = Callable[..., list[Diagnostic]]

ERROR, INFO = Severity.ERROR, Severity.INFO


def only(findings: list[Diagnostic], code: str) -> list[tuple[Severity, str | None]]:
    return [(finding.severity, finding.place.key) for finding in findings if finding.code == code]


def experts(**more: Any) -> dict[str, Any]:
    return {"train_micro_batch_size_per_gpu": 1, "expert_parallel": {"enabled": True, "autoep_size": 2, **more}}


def refused(section: dict[str, Any], *, tp: int = 1, preset: str | None = None, **more: Any) -> None:
    with pytest.raises(ValueError):
        validate_autoep_config(parse_autoep_config(section), 4, 1, tp, 1, tp_preset_model=preset, **more)


@pytest.mark.parametrize("value", [0.001, 0, False, "auto"])
def test_zt436_a_load_balance_coefficient(lint: Lint, value: object) -> None:
    config = {"train_micro_batch_size_per_gpu": 1, "expert_parallel": {"load_balance_coeff": value}}
    assert only(lint(config), "ZT436") == [(ERROR, "expert_parallel.load_balance_coeff")]
    with pytest.raises(ValueError, match="load_balance_coeff"):
        DeepSpeedConfig(config)


def test_zt436_null_and_older_versions(lint: Lint) -> None:
    assert only(lint({"expert_parallel": {"load_balance_coeff": None}}), "ZT436") == []
    assert only(lint({"expert_parallel": {"load_balance_coeff": 0.1}}, deepspeed="0.18.9"), "ZT436") == []


@pytest.mark.parametrize(
    "name",
    ["preset_model", "score_apply", "score_func", "combine_impl", "row_weighting_impl", "gate_up_impl", "comm_backend"],
)
def test_zt437_words_that_do_not_exist(lint: Lint, name: str) -> None:
    config = experts(**{name: "nonsense"})
    assert only(lint(config), "ZT437") == [(ERROR, f"expert_parallel.{name}")]
    refused(config["expert_parallel"])


def test_zt437_words_that_do(lint: Lint) -> None:
    assert only(lint(experts(preset_model="deepseek_v3", score_func="sigmoid", expert_activation=None)), "ZT437") == []
    assert only(lint({"expert_parallel": {"preset_model": "nonsense"}}), "ZT437") == []
    assert only(lint(experts(preset_model=["mixtral"])), "ZT437") == [(ERROR, "expert_parallel.preset_model")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("autoep_size", 0),
        ("autoep_size", "auto"),
        ("expert_tensor_parallel_size", 2),
        ("comm_num_sm", 0),
        ("comm_qp_margin", -1),
        ("comm_max_tokens_per_rank", None),
        ("num_expert_groups", 0),
        ("num_limited_groups", 0),
    ],
)
def test_zt438_numbers_out_of_range(lint: Lint, name: str, value: object) -> None:
    config = experts(**{name: value})
    assert only(lint(config), "ZT438") == [(ERROR, f"expert_parallel.{name}")]
    refused(config["expert_parallel"])


def test_zt438_groups_of_experts(lint: Lint) -> None:
    config = experts(num_expert_groups=2, num_limited_groups=3)
    assert only(lint(config), "ZT438") == [(ERROR, "expert_parallel.num_limited_groups")]
    refused(config["expert_parallel"])
    assert only(lint(experts(num_expert_groups=4, num_limited_groups=2, comm_qp_margin=0)), "ZT438") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("async_split_plan", "yes"),
        ("validate_folding_routing", 1),
        ("has_shared_experts", "yes"),
        ("routed_scaling_factor", "big"),
        ("router_pattern", "mlp.gate"),
        ("expert_w3", ""),
        ("top_k_attr", 7),
    ],
)
def test_zt439_values_of_another_kind(lint: Lint, name: str, value: object) -> None:
    config = experts(**{name: value})
    assert only(lint(config), "ZT439") == [(ERROR, f"expert_parallel.{name}")]
    refused(config["expert_parallel"])


def test_zt439_values_of_the_right_kind(lint: Lint) -> None:
    config = experts(async_split_plan=True, has_shared_experts=None, routed_scaling_factor=2.5, router_pattern="gate")
    assert only(lint(config), "ZT439") == []


def test_zt440_expert_ranks_that_do_not_divide(lint: Lint) -> None:
    assert only(lint(experts(autoep_size=3), world_size=8), "ZT440") == [(ERROR, "expert_parallel.autoep_size")]
    assert only(lint(experts(autoep_size=4), world_size=8), "ZT440") == []
    assert only(lint(experts(autoep_size=3)), "ZT440") == []
    refused(experts(autoep_size=3)["expert_parallel"])


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"comm_backend": "deepep"}, "comm_backend"),
        ({"row_weighting_impl": "fused"}, "row_weighting_impl"),
        ({"gate_up_impl": "fused", "use_grouped_mm": False}, "gate_up_impl"),
        (
            {"combine_impl": "fused_weighted_sum", "comm_backend": "deepep", "comm_max_tokens_per_rank": 9},
            "combine_impl",
        ),
    ],
)
def test_zt441_kernels_that_exclude_each_other(lint: Lint, more: dict[str, Any], key: str) -> None:
    assert only(lint(experts(**more)), "ZT441") == [(ERROR, f"expert_parallel.{key}")]
    refused(experts(**more)["expert_parallel"])


def test_zt441_kernels_that_combine(lint: Lint) -> None:
    deep = {"comm_backend": "deepep", "comm_max_tokens_per_rank": 4096, "row_weighting_impl": "fused"}
    assert only(lint({**experts(**deep), "bf16": {"enabled": True}}), "ZT441") == []
    in_fp16 = {**experts(**deep), "fp16": {"enabled": True}}
    assert only(lint(in_fp16), "ZT441") == [(ERROR, "expert_parallel.comm_backend")]


FOLDED = {"tensor_parallel": {"autotp_size": 2}}


@pytest.mark.parametrize(
    ("more", "key", "argument"),
    [
        ({"compile": {"deepcompile": True}}, "compile.deepcompile", "deepcompile_enabled"),
        (
            {"use_data_before_expert_parallelism": True},
            "use_data_before_expert_parallelism",
            "use_data_before_expert_parallel",
        ),
        (
            {"zero_optimization": {"stage": 1, "offload_optimizer": {"device": "none"}}},
            "zero_optimization.offload_optimizer",
            "zero_offload_optimizer",
        ),
        (
            {"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}}},
            "zero_optimization.offload_param",
            "zero_offload_param",
        ),
    ],
)
def test_zt442_what_folding_excludes(lint: Lint, more: dict[str, Any], key: str, argument: str) -> None:
    assert only(lint({**experts(), **FOLDED, **more}), "ZT442") == [(ERROR, key)]
    assert only(lint({**experts(), **more}), "ZT442") == []
    refused(experts()["expert_parallel"], tp=2, **{argument: True})


@pytest.mark.parametrize(
    ("name", "value"), [("autoep_size", 1), ("async_split_plan", True), ("combine_impl", "fused_weighted_sum")]
)
def test_zt442_expert_keys_that_folding_excludes(lint: Lint, name: str, value: object) -> None:
    config = {**experts(**{name: value}), **FOLDED}
    assert only(lint(config), "ZT442") == [(ERROR, f"expert_parallel.{name}")]
    assert only(lint({**experts(), **FOLDED}), "ZT442") == []
    refused(config["expert_parallel"], tp=2)


def test_zt443_two_presets(lint: Lint) -> None:
    config = {**experts(preset_model="mixtral"), "tensor_parallel": {"preset_model": "llama"}}
    assert only(lint(config), "ZT443") == [(ERROR, "expert_parallel.preset_model")]
    assert only(lint({**config, "tensor_parallel": {"preset_model": "mixtral"}}), "ZT443") == []
    refused(config["expert_parallel"], preset="llama")


@pytest.mark.parametrize(("name", "value"), [("zero_hpz_partition_size", 2), ("zero_quantized_gradients", True)])
def test_zt444_what_stage_3_excludes(lint: Lint, name: str, value: object) -> None:
    config = {**experts(), "zero_optimization": {"stage": 3, name: value}}
    assert only(lint(config), "ZT444") == [(ERROR, f"zero_optimization.{name}")]
    assert only(lint({**config, "zero_optimization": {"stage": 2, name: value}}), "ZT444") == []
    assert only(lint({"zero_optimization": {"stage": 3, name: value}}), "ZT444") == []


@pytest.mark.parametrize("parallel", [{}, experts()])
def test_zt961_moe_layers_are_refused_at_stage_3(lint: Lint, parallel: dict[str, Any]) -> None:
    config = {**parallel, "zero_optimization": {"stage": 3}}
    assert only(lint(config, model="moe-layers"), "ZT961") == [(ERROR, "zero_optimization.stage")]
    assert only(lint(config), "ZT961") == only(lint(config, model="moe"), "ZT961") == []
    assert only(lint({**config, "zero_optimization": {"stage": 2}}, model="moe-layers"), "ZT961") == []


MUON = {
    "optimizer": {"type": "Muon", "params": {"lr": 1e-3}},
    "bf16": {"enabled": True},
    "data_types": {"grad_accum_dtype": "fp32"},
    "zero_optimization": {"stage": 1},
}


def test_zt962_muon_cannot_update_stacked_experts(lint: Lint) -> None:
    told = [(ERROR, "optimizer.type")]
    for model in ("moe", "moe-layers"):
        assert only(lint(MUON, model=model), "ZT962") == told
        assert only(lint({**MUON, "zero_optimization": {"stage": 2}}, model=model), "ZT962") == []
        assert only(lint({**MUON, "data_types": {}}, model=model), "ZT962") == []
    assert only(lint({**experts(), **MUON}), "ZT962") == told
    assert only(lint({**experts(), **MUON}, model="dense"), "ZT962") == only(lint(MUON), "ZT962") == []


@pytest.mark.parametrize(("stage", "name"), [(1, "reduce_scatter"), (2, "reduce_scatter"), (2, "contiguous_gradients")])
def test_zt963_experts_are_reduced_in_one_way(lint: Lint, stage: int, name: str) -> None:
    zero = {"zero_optimization": {"stage": stage, name: False}}
    told = [(ERROR, f"zero_optimization.{name}")]
    assert only(lint({**experts(), **zero}), "ZT963") == only(lint(zero, model="moe-layers"), "ZT963") == told
    assert only(lint({**experts(), **zero}, model="dense"), "ZT963") == only(lint(zero, model="moe"), "ZT963") == []
    assert only(lint({**experts(), "zero_optimization": {"stage": 3, name: False}}), "ZT963") == []


def test_zt963_offload_makes_gradients_contiguous(lint: Lint) -> None:
    zero = {"stage": 2, "contiguous_gradients": False, "offload_optimizer": {"device": "cpu"}}
    assert only(lint({**experts(), "zero_optimization": zero}), "ZT963") == []


def test_zt964_the_script_marks_the_experts_in_its_optimizer(lint: Lint) -> None:
    config = {**experts(), "zero_optimization": {"stage": 2}}
    assert only(lint(config), "ZT964") == [(Severity.WARNING, "expert_parallel")]
    assert only(lint({**config, "optimizer": {"type": "AdamW"}}), "ZT964") == []
    assert only(lint({**config, "zero_optimization": {"stage": 3}}), "ZT964") == []


def test_zt445_expert_parallelism_that_is_off(lint: Lint) -> None:
    assert only(lint({"expert_parallel": {"autoep_size": 4}}), "ZT445") == [(INFO, "expert_parallel.autoep_size")]
    assert only(lint(experts()), "ZT445") == []
    assert only(lint({"expert_parallel": {"enabled": False}}), "ZT445") == []


def test_zt446_one_expert_rank(lint: Lint) -> None:
    assert only(lint(experts(autoep_size=1)), "ZT446") == [(INFO, "expert_parallel")]
    assert only(lint(experts()), "ZT446") == []


@pytest.mark.parametrize("section", [None, [1], "on", {"enabled": True, "autoep_size": [2], "comm_num_sm": {}}])
def test_anything_may_stand_there(lint: Lint, section: object) -> None:
    lint({"expert_parallel": section, "tensor_parallel": section, "zero_optimization": section}, world_size=8)
