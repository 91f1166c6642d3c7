"""ZeRO: each stage has its own keys, and none that DeepSpeed would ignore."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zerotrain.compile.resolve import Resolved
from zerotrain.compile.sections.zero import emit_zero

Settled = Callable[..., Resolved]

REDUCTION = {
    "contiguous_gradients": True,
    "reduce_scatter": True,
    "reduce_bucket_size": 2_000_000,
    "overlap_comm": False,
    "compute_grad_norm": True,
    "load_from_fp32_weights": True,
}
STAGES: dict[int, dict[str, Any]] = {
    0: {"stage": 0},
    1: {"stage": 1, **REDUCTION, "allgather_bucket_size": 2_000_000},
    2: {"stage": 2, **REDUCTION, "allgather_bucket_size": 2_000_000},
    3: {
        "stage": 3,
        **REDUCTION,
        "stage3_prefetch_bucket_size": 3686,
        "stage3_param_persistence_threshold": 640,
        "stage3_max_live_parameters": 10**9,
        "stage3_max_reuse_distance": 10**9,
        "stage3_gather_16bit_weights_on_model_save": False,
        "sub_group_size": 10**9,
        "zero_hpz_partition_size": 1,
        "zero_quantized_weights": False,
        "zero_quantized_gradients": False,
    },
}


def values(section: Any) -> Any:
    return {key: values(entry) for key, entry in section.items()} if isinstance(section, dict) else section.value


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage(settled: Settled, stage: int) -> None:
    emitted = emit_zero(settled(zero=f"{{stage: {stage}}}"))

    assert values(emitted) == {"zero_optimization": STAGES[stage]}


def test_the_sizes_of_the_spec_are_deepspeed_s(settled: Settled) -> None:
    emitted = emit_zero(
        settled(
            zero="{stage: 3, reduce_bucket_size: 1, prefetch_bucket_size: 2, param_persistence_threshold: 3, "
            "max_live_parameters: 4, sub_group_size: 5, overlap_comm: true}"
        )
    )
    zero = values(emitted)["zero_optimization"]

    assert [
        zero[key]
        for key in (
            "reduce_bucket_size",
            "stage3_prefetch_bucket_size",
            "stage3_param_persistence_threshold",
            "stage3_max_live_parameters",
            "sub_group_size",
            "overlap_comm",
        )
    ] == [1, 2, 3, 4, 5, True]


MIXTRAL = "{architecture: mixtral, config: {hidden_size: 64, num_attention_heads: 8, intermediate_size: 64}}"
BLOCK = "transformers.models.mixtral.modeling_mixtral.MixtralSparseMoeBlock"


@pytest.mark.parametrize(
    ("sections", "leaves"),
    [
        ({"model": MIXTRAL}, {"classes": [BLOCK]}),
        ({"model": MIXTRAL, "parallel": "{ep: 2}"}, None),
        ({}, None),
    ],
)
def test_stage_3_gathers_the_experts_of_a_layer_as_one(settled: Settled, sections: Any, leaves: Any) -> None:
    emitted = emit_zero(settled(zero="{stage: 3}", **sections))

    assert values(emitted)["zero_optimization"].get("leaf_module") == leaves


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_below_stage_3_nothing_is_gathered(settled: Settled, stage: int) -> None:
    emitted = emit_zero(settled(zero=f"{{stage: {stage}}}", model=MIXTRAL))

    assert "leaf_module" not in values(emitted)["zero_optimization"]


@pytest.mark.parametrize(("stage", "scatters"), [(1, True), (2, False), (3, False)])
def test_muon_does_not_scatter_above_stage_1(settled: Settled, stage: int, scatters: bool) -> None:
    emitted = emit_zero(settled(zero=f"{{stage: {stage}}}", optimizer="{type: muon, lr: 0.02}"))

    assert values(emitted)["zero_optimization"]["reduce_scatter"] is scatters


def test_offload_is_written_with_all_its_values_and_no_nulls(settled: Settled) -> None:
    emitted = emit_zero(
        settled(
            zero="{stage: 3, offload_optimizer: {device: cpu, ratio: 0.5}, "
            "offload_param: {device: nvme, nvme_path: /fast, pin_memory: false}}"
        )
    )
    zero = values(emitted)["zero_optimization"]

    assert zero["offload_optimizer"] == {"device": "cpu", "pin_memory": True, "ratio": 0.5}
    assert zero["offload_param"] == {"device": "nvme", "nvme_path": "/fast", "pin_memory": False}
