"""What DeepSpeed refuses and ignores of offload and ZenFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

Lint = Callable[..., list[Diagnostic]]
CPU = {"device": "cpu"}
NVME = {"device": "nvme", "nvme_path": "/local_nvme"}
STEP = {"select_strategy": "step", "select_interval": 4, "update_interval": 2}


def config(stage: object, zero: Mapping[str, Any] | None = None, **top: Any) -> dict[str, Any]:
    """Returns a config of a stage, with further keys of the ZeRO section and of the top level."""
    optimizer = {"type": "AdamW", "params": {"lr": 1e-3}}
    section = {"stage": stage, **(zero or {})}
    return {"train_micro_batch_size_per_gpu": 1, "optimizer": optimizer, "zero_optimization": section, **top}


def zenflow(stage: int, options: Mapping[str, Any], **top: Any) -> dict[str, Any]:
    """Returns a config with ZenFlow."""
    return config(stage, {"offload_optimizer": CPU, "zenflow": options}, **top)


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


@pytest.mark.parametrize("stage", [0, 1, 2])
@pytest.mark.parametrize("device", ["cpu", "nvme"])
def test_zt340_parameters_stay_on_the_gpu_below_stage_3(lint: Lint, stage: int, device: str) -> None:
    tree = config(stage, {"offload_param": {"device": device}})

    assert keys(lint(tree), "ZT340") == ["offload_param"]
    assert deepspeed_says(tree) == "accepted"


def test_zt340_the_old_name_counts_too(lint: Lint) -> None:
    assert keys(lint(config(2, {"cpu_offload_param": True})), "ZT340") == ["cpu_offload_param"]


def test_zt340_stage_3_and_no_device_are_quiet(lint: Lint) -> None:
    assert not keys(lint(config(3, {"offload_param": CPU})), "ZT340")
    assert not keys(lint(config(2, {"offload_param": {"device": "none"}})), "ZT340")


def test_zt341_stage_0_offloads_nothing(lint: Lint) -> None:
    assert keys(lint(config(0, {"offload_optimizer": CPU})), "ZT341") == ["offload_optimizer"]
    assert not keys(lint(config(1, {"offload_optimizer": CPU})), "ZT341")


def test_zt342_on_a_gpu_the_cpu_optimizer_fails_at_stage_0(lint: Lint) -> None:
    tree = config(0, {"offload_optimizer": CPU})

    assert keys(lint(tree, gpu="h100-sxm"), "ZT342") == ["offload_optimizer"]
    assert not keys(lint(tree, gpu="h100-sxm"), "ZT341")
    assert not keys(lint(tree), "ZT342")


def test_zt342_torch_adam_steps_anywhere(lint: Lint) -> None:
    optimizer = {"type": "AdamW", "params": {"torch_adam": True}}

    assert not keys(lint(config(0, {"offload_optimizer": CPU}, optimizer=optimizer), gpu="h100-sxm"), "ZT342")


@pytest.mark.parametrize("section", [{"pin_memory": True}, {"device": "none", "pin_memory": True}])
def test_zt343_options_without_a_device_do_nothing(lint: Lint, section: dict[str, Any]) -> None:
    assert keys(lint(config(3, {"offload_param": section})), "ZT343") == ["offload_param"]


@pytest.mark.parametrize("section", [{}, {"device": "none"}, None, {"device": "none", "nvme_path": None}])
def test_zt343_offload_that_is_plainly_off_is_quiet(lint: Lint, section: object) -> None:
    assert not keys(lint(config(3, {"offload_optimizer": section})), "ZT343")


def test_zt343_a_device_that_a_framework_fills_is_quiet(lint: Lint) -> None:
    tree = config(3, {"offload_param": {"device": "auto", "pin_memory": True}})

    assert not keys(lint(tree, reader="accelerate"), "ZT343")


@pytest.mark.parametrize("which", ["offload_optimizer", "offload_param"])
def test_zt344_nvme_needs_a_directory(lint: Lint, which: str) -> None:
    assert keys(lint(config(3, {which: {"device": "nvme"}})), "ZT344") == [f"{which}.device"]
    assert not keys(lint(config(3, {which: NVME})), "ZT344")
    assert not keys(lint(config(2, {which: {"device": "nvme"}})), "ZT344")


def test_zt345_an_empty_directory_is_the_current_one(lint: Lint) -> None:
    assert keys(lint(config(3, {"offload_param": {**NVME, "nvme_path": ""}})), "ZT345") == ["offload_param.nvme_path"]
    assert not keys(lint(config(3, {"offload_param": NVME})), "ZT345")


def test_zt346_stages_1_and_2_cannot_use_nvme(lint: Lint) -> None:
    assert keys(lint(config(2, {"offload_optimizer": NVME})), "ZT346") == ["offload_optimizer.device"]
    assert not keys(lint(config(3, {"offload_optimizer": NVME})), "ZT346")


@pytest.mark.parametrize("option", [{"max_in_cpu": 1e9}, {"buffer_count": 5}, {"nvme_path": "/local_nvme"}])
def test_zt347_swapping_options_are_for_nvme(lint: Lint, option: dict[str, Any]) -> None:
    name = f"offload_param.{next(iter(option))}"

    assert keys(lint(config(3, {"offload_param": {**CPU, **option}})), "ZT347") == [name]
    assert not keys(lint(config(3, {"offload_param": {**NVME, **option}})), "ZT347")


def test_zt347_super_offload_is_for_stage_3(lint: Lint) -> None:
    zero = {"offload_optimizer": {**CPU, "super_offload": True}}

    assert keys(lint(config(2, zero)), "ZT347") == ["offload_optimizer.super_offload"]
    assert not keys(lint(config(3, zero)), "ZT347")


def test_zt347_cores_are_for_super_offload(lint: Lint) -> None:
    zero = {"offload_optimizer": {**CPU, "cpuadam_cores_perc": 0.5, "fast_init": False, "pin_memory": True}}

    assert keys(lint(config(3, zero)), "ZT347") == ["offload_optimizer.cpuadam_cores_perc"]


def test_zt348_offload_makes_gradients_contiguous(lint: Lint) -> None:
    zero = {"contiguous_gradients": False, "offload_optimizer": CPU}

    assert keys(lint(config(2, zero)), "ZT348") == ["contiguous_gradients"]
    assert not keys(lint(config(2, {"contiguous_gradients": False})), "ZT348")


def test_zt349_asynchronous_io_is_for_nvme(lint: Lint) -> None:
    aio = {"queue_depth": 32}

    assert keys(lint(config(3, {"offload_param": CPU}, aio=aio)), "ZT349") == ["aio"]
    assert not keys(lint(config(3, {"offload_param": NVME}, aio=aio)), "ZT349")
    assert not keys(lint(config(3, aio=aio, checkpoint={"writer": {"type": "fast"}})), "ZT349")


def test_zt350_nvme_wants_asynchronous_io(lint: Lint) -> None:
    assert keys(lint(config(3, {"offload_param": NVME})), "ZT350") == ["offload_param.device"]
    assert not keys(lint(config(3, {"offload_param": NVME}, aio={"queue_depth": 32})), "ZT350")


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_zt351_a_ratio_needs_stage_3(lint: Lint, stage: int) -> None:
    tree = config(stage, {"offload_optimizer": {**CPU, "ratio": 0.5}})

    assert keys(lint(tree), "ZT351") == ["offload_optimizer.ratio"]
    assert "Partial offloading only supported for ZeRO Stage 3" in deepspeed_says(tree)


@pytest.mark.parametrize(
    "optimizer", [{"type": "AdamW", "params": {"torch_adam": True}}, {"type": "Adagrad"}, {"type": "SGD"}]
)
def test_zt351_a_ratio_needs_cpu_adam(lint: Lint, optimizer: dict[str, Any]) -> None:
    tree = config(3, {"offload_optimizer": {**CPU, "ratio": 0.5}}, optimizer=optimizer)

    assert keys(lint(tree), "ZT351") == ["offload_optimizer.ratio"]


@pytest.mark.parametrize(("device", "ratio", "stage"), [("cpu", 0.5, 3), ("cpu", 1.0, 2), ("none", 0.5, 3)])
def test_zt351_a_ratio_at_stage_3_and_a_whole_one_are_fine(lint: Lint, device: str, ratio: float, stage: int) -> None:
    tree = config(stage, {"offload_optimizer": {"device": device, "ratio": ratio}})

    assert not keys(lint(tree), "ZT351")
    assert deepspeed_says(tree) == "accepted"


def test_zt352_super_offload_needs_cuda_and_a_device(lint: Lint) -> None:
    tree = config(3, {"offload_optimizer": {**CPU, "super_offload": True}})

    assert keys(lint(tree, gpu="cpu"), "ZT352") == ["offload_optimizer.super_offload"]
    assert keys(lint(config(3, {"offload_optimizer": {"super_offload": True}})), "ZT352")
    assert not keys(lint(tree), "ZT352")


def test_zt353_lamb_cannot_step_on_the_cpu(lint: Lint) -> None:
    lamb = {"type": "Lamb", "params": {"lr": 1e-3}}

    assert keys(lint(config(2, {"offload_optimizer": CPU}, optimizer=lamb)), "ZT353") == ["optimizer.type"]
    assert not keys(lint(config(2, optimizer=lamb)), "ZT353")


@pytest.mark.parametrize(
    ("optimizer", "key"),
    [
        ({"type": "AdamW", "params": {"torch_adam": True}}, "optimizer.params.torch_adam"),
        ({"type": "SGD", "params": {}}, "optimizer.type"),
    ],
)
def test_zt354_plain_torch_steps_slowly(lint: Lint, optimizer: dict[str, Any], key: str) -> None:
    allowed = {"optimizer": optimizer, "zero_allow_untested_optimizer": True}

    assert keys(lint(config(2, {"offload_optimizer": CPU}, **allowed)), "ZT354") == [key]
    assert not keys(lint(config(2, **allowed)), "ZT354")
    assert not keys(lint(config(2, {"offload_optimizer": CPU})), "ZT354")


def test_zt355_zenflow_needs_zero_and_offload(lint: Lint) -> None:
    assert keys(lint(zenflow(0, STEP)), "ZT355") == ["zenflow"]
    assert keys(lint(config(2, {"zenflow": STEP})), "ZT355") == ["zenflow"]
    assert keys(lint(zenflow(3, STEP), gpu="cpu"), "ZT355") == ["zenflow"]


def test_zt355_zenflow_with_offload_runs(lint: Lint) -> None:
    assert not keys(lint(zenflow(2, STEP)), "ZT355")
    assert not keys(lint(config(2, {"zenflow": STEP, "cpu_offload": True})), "ZT355")
    assert not keys(lint(zenflow(3, STEP)), "ZT355")
    assert not keys(lint(config(2, {"zenflow": None})), "ZT355")


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"select_interval": 4, "update_interval": 2}, "zenflow.select_interval"),
        ({"select_strategy": "epoch", "update_interval": 2}, "zenflow.select_strategy"),
        ({"select_strategy": "step", "select_interval": 1, "update_interval": 2}, "zenflow.select_interval"),
    ],
)
def test_zt356_intervals_that_do_not_fit_are_refused(lint: Lint, options: dict[str, Any], key: str) -> None:
    assert keys(lint(zenflow(2, options)), "ZT356") == [key]


@pytest.mark.parametrize(
    "options", [STEP, {"update_interval": 2}, {**STEP, "select_strategy": "epoch", "select_interval": 1}]
)
def test_zt356_intervals_that_fit_are_fine(lint: Lint, options: dict[str, Any]) -> None:
    assert not keys(lint(zenflow(2, options)), "ZT356")


def test_zt357_selective_offload_needs_overlap(lint: Lint) -> None:
    tree = zenflow(2, {**STEP, "offload": True})

    assert keys(lint(tree), "ZT357") == ["zenflow.offload"]
    assert not keys(lint(zenflow(3, {**STEP, "offload": True})), "ZT357")
    tree["zero_optimization"]["overlap_comm"] = True
    assert not keys(lint(tree), "ZT357")


@pytest.mark.parametrize(
    ("optimizer", "key"),
    [
        ({"type": "AdamW", "params": {"lr": 1e-3, "adam_w_mode": True}}, "optimizer.params.adam_w_mode"),
        ({"type": "AdamW"}, "optimizer"),
        ({"type": "SGD", "params": {"lr": 1e-3}}, "optimizer.type"),
    ],
)
def test_zt358_zenflow_takes_adam_and_its_parameters(lint: Lint, optimizer: dict[str, Any], key: str) -> None:
    assert keys(lint(zenflow(2, STEP, optimizer=optimizer)), "ZT358") == [key]


def test_zt358_an_optimizer_that_never_updates_does_not_fail(lint: Lint) -> None:
    optimizer = {"optimizer": {"type": "RMSprop", "params": {"lr": 1e-3}}, "zero_allow_untested_optimizer": True}
    tree = zenflow(2, {"update_interval": "auto"}) | optimizer

    told = {reader: [f.severity for f in lint(tree, reader=reader) if f.code == "ZT358"] for reader in ("raw", "hf")}
    assert told == {"raw": [Severity.WARNING], "hf": [Severity.ERROR]}


def test_zt358_zenflow_needs_an_optimizer_in_the_config(lint: Lint) -> None:
    tree = zenflow(2, STEP)

    assert not keys(lint(tree), "ZT358")
    del tree["optimizer"]
    assert keys(lint(tree), "ZT358") == ["zenflow"]


def test_zt359_zenflow_overwrites_the_accumulation_steps(lint: Lint) -> None:
    assert keys(lint(zenflow(2, STEP, gradient_accumulation_steps=4)), "ZT359") == ["gradient_accumulation_steps"]
    assert not keys(lint(zenflow(2, STEP, gradient_accumulation_steps=2)), "ZT359")


def test_zt359_without_an_interval_the_loss_is_divided_by_zero(lint: Lint) -> None:
    assert keys(lint(zenflow(2, {})), "ZT359") == ["zenflow"]
    assert keys(lint(zenflow(2, {"update_interval": "auto"})), "ZT359") == ["zenflow"]
    assert not keys(lint(zenflow(2, {}), reader="hf"), "ZT359")


@pytest.mark.parametrize("value", [None, [1], "cpu", 3, True, {"device": ["cpu"]}, {"device": "cpu", "ratio": "half"}])
def test_offload_of_any_kind_is_read(lint: Lint, value: object) -> None:
    zero = {"offload_optimizer": value, "offload_param": value, "zenflow": value}

    assert isinstance(lint(config(3, zero), world_size=8, gpu="cpu"), list)
    assert isinstance(lint(config(2, zero, optimizer=value, aio=value)), list)
