"""A draft, compiled again, is for DeepSpeed the config it was made from; what is not is said in the draft."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from zerotrain.check.dsschema.meaning import implied, is_read, spelled
from zerotrain.check.dsschema.schema import schema_of
from zerotrain.compile.accelerate import deepspeed_config, is_accelerate, named_config, ranks_of
from zerotrain.compile.adopt import Draft, Knowledge, adopt
from zerotrain.compile.draft_text import draft_text
from zerotrain.compile.emit import compile_spec
from zerotrain.compile.model import settle
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.spec.load import load_spec

SCHEMA = schema_of()
KNOWLEDGE = Knowledge(
    spelled=lambda config: spelled(config, SCHEMA),
    implied=lambda config: implied(config, SCHEMA),
    is_read=lambda key: is_read(key, SCHEMA),
)
AROUND = Surroundings(Path(), Path())

ADAM = {"type": "Adam", "params": {"lr": 1e-4, "betas": [0.9, 0.95], "weight_decay": 0.1}}
PLAIN = {"train_batch_size": 16, "train_micro_batch_size_per_gpu": 4, "optimizer": ADAM}
CONFIGS: Mapping[str, dict[str, Any]] = {
    "plain": PLAIN,
    "fp32-adam": {**PLAIN, "optimizer": {"type": "Adam", "params": {"lr": 1e-3, "adam_w_mode": False}}},
    "no-clipping": {**PLAIN, "gradient_clipping": 0},
    "bf16-stage-1": {**PLAIN, "bf16": {"enabled": True}, "zero_optimization": {"stage": 1}},
    "bf16-fp32-sums": {
        **PLAIN,
        "bf16": {"enabled": True},
        "data_types": {"grad_accum_dtype": "fp32"},
        "communication_data_type": "fp32",
        "zero_optimization": {"stage": 2, "reduce_bucket_size": 2e8, "overlap_comm": True},
    },
    "fp16": {
        **PLAIN,
        "fp16": {"enabled": True, "initial_scale_power": 12, "loss_scale_window": 500, "hysteresis": 4},
        "zero_optimization": {"stage": 2, "allgather_bucket_size": 1000, "round_robin_gradients": True},
    },
    "fixed-scale": {**PLAIN, "fp16": {"enabled": True, "loss_scale": 128}},
    "stage-3": {
        "train_micro_batch_size_per_gpu": 2,
        "gradient_accumulation_steps": 4,
        "bf16": {"enabled": True},
        "optimizer": {"type": "AdamW", "params": {"lr": 3e-5, "torch_adam": True}},
        "scheduler": {
            "type": "WarmupDecayLR",
            "params": {
                "total_num_steps": 500,
                "warmup_num_steps": 10,
                "warmup_min_lr": 3e-6,
                "warmup_max_lr": 3e-5,
                "warmup_type": "linear",
            },
        },
        "zero_optimization": {
            "stage": 3,
            "offload_optimizer": {"device": "cpu", "pin_memory": False, "buffer_count": 8},
            "offload_param": {"device": "nvme", "nvme_path": "/local", "buffer_size": 1000},
            "stage3_prefetch_bucket_size": 7,
            "stage3_param_persistence_threshold": 8,
            "stage3_max_live_parameters": 9,
            "stage3_max_reuse_distance": 9,
            "sub_group_size": 1e8,
        },
    },
    "cosine": {
        **PLAIN,
        "scheduler": {
            "type": "WarmupCosineLR",
            "params": {"total_num_steps": 90, "warmup_num_steps": 9, "cos_min_ratio": 0.1, "warmup_type": "linear"},
        },
    },
    "others": {
        **PLAIN,
        "optimizer": {"type": "SGD", "params": {"lr": 0.1, "momentum": 0.9}},
        "zero_optimization": {"stage": 1, "stage3_prefetch_bucket_size": 3, "ignore_unused_parameters": False},
        "zero_allow_untested_optimizer": True,
        "wandb": {"enabled": True, "project": "mine", "team": "1e-4"},
        "comms_logger": {"enabled": True, "prof_ops": ["all_reduce"]},
        "activation_checkpointing": {"cpu_checkpointing": True, "number_checkpoints": 4},
        "aio": {"block_size": 1048576},
        "flops_profiler": {"enabled": True, "profile_step": 3},
    },
    "autocast": {**PLAIN, "torch_autocast": {"enabled": True, "dtype": "bf16"}},
}
OUR_OWN = {"steps_per_print", "checkpoint.tag_validation"}
"""Keys zerotrain always writes itself."""


def draft_of(config: Mapping[str, Any], world_size: int | None = None) -> Draft:
    return adopt(config, "mine", KNOWLEDGE, AROUND, world_size)


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[[Draft], dict[str, Any]]:
    """Returns what the text of a draft is compiled to."""

    def run(draft: Draft) -> dict[str, Any]:
        file = tmp_path / "draft.yaml"
        file.write_text(draft_text(draft, "ds.json"), encoding="utf-8")
        return compile_spec(settle(load_spec(file), AROUND), "deepspeed").as_dict()

    return run


def parsed(config: dict[str, Any]) -> dict[str, Any]:
    """Returns what the real DeepSpeed understands of a config, on one rank."""
    from deepspeed.runtime.config import DeepSpeedConfig

    understood = dict(vars(DeepSpeedConfig(copy.deepcopy(config))))
    for name in ("_param_dict", "mpu", "mesh_device"):
        understood.pop(name, None)
    dtype = (
        "bf16" if understood["bfloat16_config"].enabled else "fp16" if understood["float16_config"].enabled else "fp32"
    )
    understood["grad_accum_dtype"] = understood["grad_accum_dtype"] or dtype
    understood["communication_data_type"] = str(understood["communication_data_type"] or dtype).replace("torch.", "")
    return {name: comparable(value) for name, value in understood.items()}


def comparable(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return comparable(value.model_dump())
    if isinstance(value, Mapping):
        return {key: comparable(inside) for key, inside in value.items()}
    names = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "adam": "adamw", "Fail": "Warn"}
    if type(value).__module__.startswith("deepspeed") and hasattr(value, "__dict__"):
        return comparable(vars(value))
    return names.get(value, value) if isinstance(value, str) else value


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.filterwarnings("ignore")
def test_deepspeed_understands_the_same(name: str, compiled: Callable[[Draft], dict[str, Any]]) -> None:
    draft = draft_of(CONFIGS[name])
    before, after = parsed(CONFIGS[name]), parsed(compiled(draft))
    for key in (
        "steps_per_print",
        "optimizer_params",
        "scheduler_params",
        "torch_autocast_lower_precision_safe_modules",
    ):
        before.pop(key, None), after.pop(key, None)
    adjusted = {**before["checkpoint_config"], "tag_validation": None} if "checkpoint_config" in before else None
    if adjusted is not None:
        before["checkpoint_config"] = after["checkpoint_config"] = adjusted
    if name == "fp32-adam":
        before["optimizer_name"] = after["optimizer_name"]

    differing = {key: (before[key], after.get(key)) for key in before if before[key] != after.get(key)}
    for unchecked in (
        "checkpoint_tag_validation_enabled",
        "checkpoint_tag_validation_fail",
        "checkpoint_tag_validation_mode",
    ):
        differing.pop(unchecked, None)
    assert differing == {}
    assert set(draft.changed) | set(draft.left_out) <= OUR_OWN


@pytest.mark.parametrize("name", CONFIGS)
def test_every_key_of_the_optimizer_and_the_schedule_comes_back(
    name: str, compiled: Callable[[Draft], dict[str, Any]]
) -> None:
    again = compiled(draft_of(CONFIGS[name], 2))
    for section in ("optimizer", "scheduler"):
        written = CONFIGS[name].get(section, {"params": {}})["params"]
        found = again.get(section, {"params": {}})["params"]
        assert {key: found[key] for key in written} == written


@pytest.mark.parametrize("name", CONFIGS)
def test_a_draft_of_a_draft_changes_nothing_more(name: str, compiled: Callable[[Draft], dict[str, Any]]) -> None:
    once = compiled(draft_of(CONFIGS[name], 2))
    again = draft_of(once)

    assert (again.left_out, again.changed) == ({}, {})
    assert compiled(again) == once


@pytest.mark.parametrize(
    ("config", "world_size", "batch", "ranks"),
    [
        (
            {"train_batch_size": 32, "train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 2},
            None,
            (32, 4),
            4,
        ),
        ({"train_micro_batch_size_per_gpu": 4}, None, (4, 4), 1),
        ({"train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 3}, 2, (24, 4), 2),
        ({"train_batch_size": 32}, 8, (32, 4), 8),
        ({"train_batch_size": 32, "gradient_accumulation_steps": 2}, 4, (32, 4), 4),
        ({"train_micro_batch_size_per_gpu": 1}, 64, (64, 1), 64),
        ({"train_micro_batch_size_per_gpu": 1}, 9, (9, 1), 9),
    ],
)
def test_the_batch_and_the_ranks_follow_from_each_other(
    config: dict[str, Any], world_size: int | None, batch: tuple[int, int], ranks: int
) -> None:
    spec = draft_of(config, world_size).spec

    assert tuple(spec["batch"].values()) == batch
    assert spec["hardware"]["num_nodes"] * spec["hardware"]["gpus_per_node"] == ranks


def test_what_a_config_does_not_say_is_a_placeholder() -> None:
    assert set(draft_of({}).placeholders) == {"model", "data", "batch", "horizon", "optimizer", "hardware"}
    assert set(draft_of(CONFIGS["stage-3"]).placeholders) == {"model", "data", "hardware"}
    assert "optimizer.lr" in draft_of({"optimizer": {"type": "AdamW", "params": {"lr": "auto"}}}).placeholders


@pytest.mark.parametrize(
    ("config", "key", "reason"),
    [
        ({"gradient_clipping": "auto"}, "gradient_clipping", "`auto`, which a framework fills in"),
        ({"zero_optimisation": {"stage": 3}}, "zero_optimisation.stage", "DeepSpeed does not read it"),
        ({"nebula": {"enabled": False}}, "nebula.enabled", "DeepSpeed does not read it"),
        ({"prescale_gradients": True}, "prescale_gradients", "is always false in a run of zerotrain's"),
        ({"tensor_parallel": {"autotp_size": 2}}, "tensor_parallel.autotp_size", "is compiled from `parallel.tp`"),
        ({"steps_per_print": float("inf")}, "steps_per_print", "JSON has no such number"),
    ],
)
def test_what_cannot_be_carried_over_is_said(config: dict[str, Any], key: str, reason: str) -> None:
    assert draft_of(config).left_out[key].startswith(reason)


def test_an_older_name_of_offloading_is_carried_over() -> None:
    draft = draft_of({**PLAIN, "zero_optimization": {"stage": 2, "cpu_offload": True}})

    assert draft.spec["zero"]["offload_optimizer"]["device"] == "cpu"
    assert set(draft.changed) | set(draft.left_out) <= OUR_OWN


def test_a_stage_that_a_template_has_not_filled_in_is_a_placeholder() -> None:
    assert "zero" in draft_of({**PLAIN, "zero_optimization": {"stage": "ZERO_STAGE"}}).placeholders


def test_what_is_compiled_otherwise_is_said() -> None:
    warmup = {"type": "WarmupLR", "params": {"warmup_num_steps": 10}}

    assert draft_of({**PLAIN, "scheduler": warmup}).changed == {
        "checkpoint.tag_validation": "`WARN` becomes `Fail`, always so",
        "steps_per_print": "what is not set becomes `100`, always so",
        "scheduler.params.warmup_type": "`log` becomes `linear`, always so",
    }


def test_text_stays_text_and_numbers_stay_numbers(compiled: Callable[[Draft], dict[str, Any]]) -> None:
    wandb = {"enabled": True, "project": "1e-4", "team": "on", "group": "0x1F: # é"}

    assert compiled(draft_of({**PLAIN, "wandb": wandb}))["wandb"] == wandb


def test_the_text_of_a_draft() -> None:
    text = draft_text(draft_of(PLAIN), "ds\n.json")

    assert text.startswith("# A draft from `ds .json`. What that file does not say is marked PLACEHOLDER")
    assert "\n# PLACEHOLDER: the length of training\nhorizon: 1000 steps\n" in text
    assert "\nname: mine\n" in text
    assert list(yaml.safe_load(text)) == list(draft_of(PLAIN).spec)


GARBAGE = [None, True, 0, -1, 7, 1.5, 1e400, 10**30, "", "yes", "auto", [], [1], {}, {"a": 1}, {"type": 3}]
KEYS = [
    *("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping"),
    *("optimizer", "scheduler", "fp16", "bf16", "zero_optimization", "data_types", "communication_data_type"),
    *("activation_checkpointing", "tensorboard", "torch_autocast", "aio", "nonsense"),
]


@pytest.mark.parametrize("key", KEYS)
def test_any_value_has_a_draft(key: str) -> None:
    for value in GARBAGE:
        for config in ({key: value}, {**CONFIGS["stage-3"], key: value}, {"zero_optimization": {"stage": value}}):
            draft_text(draft_of(config), "x")


@pytest.mark.parametrize("params", [{"lr": "1e-4"}, {"betas": "x"}, {"eps": -1}, {"lr": 10**400}, {"betas": [0.9]}])
def test_any_parameter_has_a_draft(params: dict[str, Any]) -> None:
    draft = draft_of({**PLAIN, "optimizer": {"type": "AdamW", "params": {"lr": 1e-4, **params}}})

    wrong = next(iter(params))
    assert f"optimizer.params.{wrong}" in draft.left_out or f"optimizer.{wrong}" in draft.placeholders


ACCELERATE = {
    "compute_environment": "LOCAL_MACHINE",
    "distributed_type": "DEEPSPEED",
    "deepspeed_config": {
        "gradient_accumulation_steps": 2,
        "gradient_clipping": 0.7,
        "offload_optimizer_device": "cpu",
        "offload_param_device": "none",
        "zero3_init_flag": True,
        "zero_stage": 3,
    },
    "mixed_precision": "bf16",
    "num_processes": 16,
    "num_machines": 2,
}


def test_accelerate_s_yaml_is_the_config_accelerate_makes_of_it() -> None:
    config = deepspeed_config(ACCELERATE)
    spec = draft_of(config, ranks_of(ACCELERATE)).spec

    assert is_accelerate(ACCELERATE)
    assert spec["zero"]["stage"] == 3
    assert spec["zero"]["offload_optimizer"]["device"] == "cpu"
    assert "offload_param" not in spec["zero"]
    assert spec["precision"]["dtype"] == "bf16"
    assert spec["optimizer"]["clip_norm"] == 0.7
    assert spec["batch"] == {"global_batch_size": 32, "micro_batch_size": 1}
    assert (spec["hardware"]["num_nodes"], spec["hardware"]["gpus_per_node"]) == (2, 8)


def test_accelerate_may_name_a_config_of_deepspeed_s() -> None:
    data = {"distributed_type": "DEEPSPEED", "deepspeed_config": {"deepspeed_config_file": "ds.json"}}

    assert named_config(data) == "ds.json"
    assert deepspeed_config(data, PLAIN) == PLAIN
    assert not is_accelerate(PLAIN)
