"""What DeepSpeed refuses and ignores of ZeRO and ZeRO++."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from zerotrain.diagnostic import Diagnostic

Lint = Callable[..., list[Diagnostic]]
BF16_FP32 = {"bf16": {"enabled": True}, "data_types": {"grad_accum_dtype": "fp32"}}


def config(stage: object, zero: Mapping[str, Any] | None = None, **top: Any) -> dict[str, Any]:
    """Returns a config of a stage, with further keys of the ZeRO section and of the top level."""
    section = {"stage": stage, **(zero or {})}
    return {"train_micro_batch_size_per_gpu": 1, "zero_optimization": section, **top}


def keys(found: list[Diagnostic], code: str) -> list[str]:
    """Returns where a code was found, without the name of the ZeRO section."""
    return [(finding.place.key or "").removeprefix("zero_optimization.") for finding in found if finding.code == code]


def deepspeed_says(tree: Mapping[str, Any]) -> str:
    """Returns what DeepSpeed's own parser answers: `accepted`, or why not."""
    from deepspeed.runtime.config import DeepSpeedConfig

    try:
        DeepSpeedConfig(dict(tree))
    except (AssertionError, ValueError) as refusal:
        return str(refusal)
    return "accepted"


@pytest.mark.parametrize("stage", [0, "0"])
def test_zt320_settings_at_stage_0_do_nothing(lint: Lint, stage: object) -> None:
    found = lint(config(stage, {"overlap_comm": True, "reduce_bucket_size": 5e8}))

    assert keys(found, "ZT320") == ["stage"]
    assert "`overlap_comm` and 1 more do nothing" in next(f.message for f in found if f.code == "ZT320")


def test_zt320_a_section_without_a_stage_is_stage_0(lint: Lint) -> None:
    tree = {"train_micro_batch_size_per_gpu": 1, "zero_optimization": {"overlap_comm": True}}

    assert keys(lint(tree), "ZT320") == ["zero_optimization"]


@pytest.mark.parametrize("zero", [{}, {"contiguous_gradients": False}, {"reduce_bucket_size": "auto"}])
def test_zt320_stage_0_without_settings_is_quiet(lint: Lint, zero: dict[str, Any]) -> None:
    assert not keys(lint(config(0, zero)), "ZT320")


@pytest.mark.parametrize("stage", ["auto", 4, None, [1], "three", 1e400])
def test_zt320_a_stage_that_is_none_or_is_filled_later_is_quiet(lint: Lint, stage: object) -> None:
    assert not keys(lint(config(stage, {"overlap_comm": True}), reader="hf"), "ZT320")


@pytest.mark.parametrize("name", ["stage3_max_live_parameters", "max_live_parameters", "sub_group_size"])
@pytest.mark.parametrize("stage", [1, 2])
def test_zt321_below_stage_3_its_settings_are_ignored(lint: Lint, name: str, stage: int) -> None:
    assert keys(lint(config(stage, {name: 1_000_000_000})), "ZT321") == [name]


def test_zt321_at_stage_3_they_are_read(lint: Lint) -> None:
    assert not keys(lint(config(3, {"stage3_max_live_parameters": 1e9, "sub_group_size": 1e9})), "ZT321")


def test_zt321_what_asks_for_nothing_is_quiet(lint: Lint) -> None:
    zero = {"stage3_prefetch_bucket_size": "auto", "stage3_gather_16bit_weights_on_model_save": False}

    assert not keys(lint(config(2, zero)), "ZT321")


@pytest.mark.parametrize("stage", [2.0, "2", 2])
def test_zt321_a_stage_may_be_written_as_text_or_with_a_point(lint: Lint, stage: object) -> None:
    tree = config(stage, {"sub_group_size": 1_000_000})

    assert keys(lint(tree), "ZT321") == ["sub_group_size"]
    assert deepspeed_says(tree) == "accepted"


@pytest.mark.parametrize(
    "zero",
    [
        {"allgather_bucket_size": 200_000_000},
        {"round_robin_gradients": True},
        {"ignore_unused_parameters": False},
        {"elastic_checkpoint": True},
    ],
)
def test_zt322_at_stage_3_settings_of_stages_1_and_2_are_ignored(lint: Lint, zero: dict[str, Any]) -> None:
    assert keys(lint(config(3, zero)), "ZT322") == list(zero)
    assert not keys(lint(config(2, zero)), "ZT322")


def test_zt323_the_bf16_optimizer_is_not_given_the_settings_of_stage_1(lint: Lint) -> None:
    zero = {"overlap_comm": True, "reduce_bucket_size": 5e8, "allgather_bucket_size": 5e8}

    assert set(keys(lint(config(1, zero, **BF16_FP32)), "ZT323")) == {"reduce_bucket_size", "overlap_comm"}


def test_zt323_offload_and_stage_2_have_the_zero_optimizer(lint: Lint) -> None:
    offloaded = {"overlap_comm": True, "offload_optimizer": {"device": "cpu"}}

    assert not keys(lint(config(1, offloaded, **BF16_FP32)), "ZT323")
    assert not keys(lint(config(2, {"overlap_comm": True}, **BF16_FP32)), "ZT323")


@pytest.mark.parametrize("stage", [0, 1, 2])
@pytest.mark.parametrize("zero", [{"zero_hpz_partition_size": 8}, {"zero_quantized_weights": True}])
def test_zt324_zeropp_is_ignored_below_stage_3(lint: Lint, stage: int, zero: dict[str, Any]) -> None:
    assert keys(lint(config(stage, zero)), "ZT324") == list(zero)
    assert deepspeed_says(config(stage, zero)) == "accepted"


def test_zt324_zeropp_at_stage_3_or_switched_off_is_quiet(lint: Lint) -> None:
    assert not keys(lint(config(3, {"zero_hpz_partition_size": 8})), "ZT324")
    assert not keys(lint(config(2, {"zero_hpz_partition_size": 0, "zero_quantized_weights": False})), "ZT324")


@pytest.mark.parametrize("stage", [2, 3])
def test_zt325_quantized_weights_exclude_autocast(lint: Lint, stage: int) -> None:
    tree = config(stage, {"zero_quantized_weights": True}, torch_autocast={"enabled": True, "dtype": "bfloat16"})

    assert keys(lint(tree), "ZT325") == ["zero_quantized_weights"]


def test_zt325_quantized_weights_need_cuda(lint: Lint) -> None:
    tree = config(3, {"zero_quantized_weights": True, "zero_quantized_nontrainable_weights": True})

    assert keys(lint(tree, gpu="cpu"), "ZT325") == ["zero_quantized_weights", "zero_quantized_nontrainable_weights"]
    assert not keys(lint(tree), "ZT325")


@pytest.mark.parametrize(("size", "world", "fires"), [(3, 8, True), (4, 8, False), (16, 8, False), (3, None, False)])
def test_zt326_groups_of_hpz_divide_the_ranks(lint: Lint, size: int, world: int | None, fires: bool) -> None:
    found = lint(config(3, {"zero_hpz_partition_size": size}), world_size=world)

    assert keys(found, "ZT326") == ["zero_hpz_partition_size"] * fires


@pytest.mark.parametrize(("size", "world", "fires"), [(16, 8, True), (8, 8, False), (16, None, False)])
def test_zt327_groups_of_hpz_are_not_larger_than_the_world(
    lint: Lint, size: int, world: int | None, fires: bool
) -> None:
    found = lint(config(3, {"zero_hpz_partition_size": size}), world_size=world)

    assert keys(found, "ZT327") == ["zero_hpz_partition_size"] * fires


@pytest.mark.parametrize(("world", "fires"), [(1, True), (8, False), (None, False)])
def test_zt328_one_rank_has_no_other_node(lint: Lint, world: int | None, fires: bool) -> None:
    found = lint(config(3, {"zero_quantized_gradients": True}), world_size=world)

    assert keys(found, "ZT328") == ["zero_quantized_gradients"] * fires


def test_zt329_quantized_gradients_are_scattered(lint: Lint) -> None:
    zero = {"zero_quantized_gradients": True, "reduce_scatter": False}

    assert keys(lint(config(3, zero)), "ZT329") == ["reduce_scatter"]
    assert not keys(lint(config(3, {**zero, "reduce_scatter": True})), "ZT329")
    assert not keys(lint(config(2, zero)), "ZT329")


@pytest.mark.parametrize("stage", [2, 3])
@pytest.mark.parametrize("top", [{"prescale_gradients": True}, {"gradient_predivide_factor": 2.0}])
def test_zt330_scaling_before_a_reduce_scatter_is_refused(lint: Lint, stage: int, top: dict[str, Any]) -> None:
    assert keys(lint(config(stage, **top)), "ZT330") == list(top)
    assert not keys(lint(config(stage, {"reduce_scatter": False}, **top)), "ZT330")
    assert not keys(lint(config(1, **top)), "ZT330")


def test_zt330_stage_2_does_not_look_when_it_sums(lint: Lint) -> None:
    tree = config(2, prescale_gradients=True, gradient_allreduce_op="sum")

    assert not keys(lint(tree), "ZT330")


def test_zt331_stage_1_ignores_scaling(lint: Lint) -> None:
    assert keys(lint(config(1, prescale_gradients=True)), "ZT331") == ["prescale_gradients"]
    assert not keys(lint(config(1, {"reduce_scatter": False}, prescale_gradients=True)), "ZT331")
    assert not keys(lint(config(1, prescale_gradients=True, **BF16_FP32)), "ZT331")
    assert not keys(lint(config(1, prescale_gradients=False, gradient_predivide_factor=1.0)), "ZT331")


@pytest.mark.parametrize(
    ("tree", "fires"),
    [
        (config(2, {"allgather_bucket_size": 101}), True),
        (config(1, {"allgather_bucket_size": 101}), True),
        (config(2, {"allgather_bucket_size": 5e8}), False),
        (config(3, {"allgather_bucket_size": 101}), False),
        (config(1, {"allgather_bucket_size": 101}, **BF16_FP32), False),
    ],
)
def test_zt332_buckets_are_even(lint: Lint, tree: dict[str, Any], fires: bool) -> None:
    assert keys(lint(tree), "ZT332") == ["allgather_bucket_size"] * fires


@pytest.mark.parametrize("stage", [0, 3])
def test_zt333_the_norm_stays_on_outside_stages_1_and_2(lint: Lint, stage: int) -> None:
    tree = config(stage, {"compute_grad_norm": False}, gradient_clipping=0)

    assert keys(lint(tree), "ZT333") == ["compute_grad_norm"]
    assert "only with ZeRO Stage 1 or 2" in deepspeed_says(tree)


@pytest.mark.parametrize(
    "tree",
    [
        config(2, {"compute_grad_norm": False}),
        config(2, {"compute_grad_norm": False, "offload_optimizer": {"device": "cpu"}}, gradient_clipping=0),
        config(1, {"compute_grad_norm": False}, gradient_clipping=0, **BF16_FP32),
    ],
)
def test_zt333_who_needs_the_norm_keeps_it(lint: Lint, tree: dict[str, Any]) -> None:
    assert keys(lint(tree), "ZT333") == ["compute_grad_norm"]


def test_zt333_without_clipping_the_norm_may_go(lint: Lint) -> None:
    tree = config(2, {"compute_grad_norm": False}, gradient_clipping=0)

    assert not keys(lint(tree), "ZT333")
    assert not keys(lint(config(3, {"compute_grad_norm": True})), "ZT333")


def test_zt334_the_first_stage_1_is_gone(lint: Lint) -> None:
    assert keys(lint(config(1, {"legacy_stage1": True})), "ZT334") == ["legacy_stage1"]
    assert not keys(lint(config(1, {"legacy_stage1": False})), "ZT334")
    assert not keys(lint(config(0, {"legacy_stage1": True})), "ZT334")


@pytest.mark.parametrize(
    "tree",
    [
        config(3, gradient_allreduce_op="Sum"),
        config(2, {"zenflow": {}, "offload_optimizer": {"device": "cpu"}}, gradient_allreduce_op="sum"),
        config(1, gradient_allreduce_op="sum", compile={"deepcompile": True}),
    ],
)
def test_zt335_sums_are_refused(lint: Lint, tree: dict[str, Any]) -> None:
    assert keys(lint(tree), "ZT335") == ["gradient_allreduce_op"]
    assert "'sum' is not supported" in deepspeed_says(tree)


@pytest.mark.parametrize("tree", [config(2, gradient_allreduce_op="sum"), config(3, gradient_allreduce_op="mean")])
def test_zt335_sums_at_stage_2_and_means_are_fine(lint: Lint, tree: dict[str, Any]) -> None:
    assert not keys(lint(tree), "ZT335")
    assert deepspeed_says(tree) == "accepted"


@pytest.mark.parametrize(("stage", "fires"), [(0, True), (1, True), (2, False), (3, False)])
def test_zt336_own_accumulation_excludes_overlap_below_stage_2(lint: Lint, stage: int, fires: bool) -> None:
    found = lint(config(stage, {"overlap_comm": True}, managed_gradient_accumulation=False))

    assert keys(found, "ZT336") == ["overlap_comm"] * fires


def test_zt336_own_accumulation_without_overlap_is_fine(lint: Lint) -> None:
    assert not keys(lint(config(1, managed_gradient_accumulation=False)), "ZT336")


def test_zt337_gathering_cannot_be_switched_off(lint: Lint) -> None:
    tree = config(2, {"allgather_partitions": False}, disable_allgather=True)

    assert set(keys(lint(tree), "ZT337")) == {"allgather_partitions", "disable_allgather"}
    assert not keys(lint(config(2, {"allgather_partitions": True}, disable_allgather=False)), "ZT337")


def test_zt338_trainer_saves_no_weights_without_the_gather_flag(lint: Lint) -> None:
    name = "stage3_gather_16bit_weights_on_model_save"

    assert keys(lint(config(3), reader="hf"), "ZT338") == ["zero_optimization"]
    assert keys(lint(config(3, {name: False}), reader="hf"), "ZT338") == [name]
    assert not keys(lint(config(3), reader="raw"), "ZT338")
    assert not keys(lint(config(2), reader="hf"), "ZT338")


@pytest.mark.parametrize("value", [True, "auto"])
def test_zt338_a_gather_flag_that_is_set_or_filled_is_quiet(lint: Lint, value: object) -> None:
    tree = config(3, {"stage3_gather_16bit_weights_on_model_save": value})

    assert not keys(lint(tree, reader="hf"), "ZT338")


@pytest.mark.parametrize("reader", ["raw", "accelerate"])
def test_zt339_a_script_is_told_that_weights_stay_apart(lint: Lint, reader: str) -> None:
    assert keys(lint(config(3), reader=reader), "ZT339") == ["zero_optimization"]
    for name in ("gather_16bit_weights_on_model_save", "stage3_gather_16bit_weights_on_model_save"):
        for value in (True, 1, "true"):
            assert not keys(lint(config(3, {name: value}), reader=reader), "ZT339")


@pytest.mark.parametrize("section", [None, [1], "3", 3, False, {"stage": {"a": 1}}, {"stage": 3, "overlap_comm": []}])
def test_a_section_of_any_kind_is_read(lint: Lint, section: object) -> None:
    assert isinstance(lint({"train_batch_size": 1, "zero_optimization": section}, world_size=8, gpu="cpu"), list)


@pytest.mark.parametrize(("size", "told"), [(20001, True), ("20001", True), ("20000", False), ("many", False)])
def test_zt332_an_odd_bucket_is_odd_as_text_too(lint: Lint, size: object, told: bool) -> None:
    assert bool(keys(lint(config(2, {"allgather_bucket_size": size})), "ZT332")) == told
