"""The compiler: who reads what, where each value comes from, and what the `deepspeed` block may add."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zerotrain.compile.dsconfig import ZEROTRAIN, DeepSpeedConfig
from zerotrain.compile.emit import compile_spec
from zerotrain.compile.resolve import Resolved
from zerotrain.errors import SpecError
from zerotrain.spec.invalid import known_keys
from zerotrain.spec.load import read_spec
from zerotrain.spec.run import RunSpec
from zerotrain.spec.tree import undotted

Compiled = Callable[..., DeepSpeedConfig]
Settled = Callable[..., Resolved]

TARGETS = ("zerotrain", "deepspeed", "hf", "accelerate")
ALWAYS = [
    "train_batch_size",
    "train_micro_batch_size_per_gpu",
    "gradient_accumulation_steps",
    "managed_gradient_accumulation",
    "gradient_allreduce_op",
    "prescale_gradients",
    "gradient_predivide_factor",
    "gradient_clipping",
    "fp16",
    "bf16",
    "torch_autocast",
    "data_types",
    "communication_data_type",
    "zero_optimization",
    "steps_per_print",
    "wall_clock_breakdown",
    "checkpoint",
]
SPECS: dict[str, dict[str, str]] = {
    "plain": {},
    "everything": {
        "precision": "{dtype: fp16, loss_scale: {window: 5}}",
        "zero": "{stage: 3, offload_optimizer: {device: cpu}, offload_param: {device: nvme, nvme_path: /x}}",
        "activation_checkpointing": "{granularity: full, implementation: deepspeed}",
        "schedule": "{type: cosine, warmup: 5 steps}",
        "monitor": "{tensorboard: true}",
        "deepspeed": "{comms_logger: {enabled: true}, zero_optimization: {round_robin_gradients: true}}",
    },
    "muon": {
        "optimizer": "{type: muon, lr: 0.02, adam_lr: 1.0e-3}",
        "zero": "{stage: 3}",
        "precision": "bf16",
        "schedule": "{type: linear, warmup: 5 steps}",
    },
    "sgd": {"optimizer": "{type: sgd, lr: 0.02, clip_norm: null}", "zero": "{stage: 2}", "precision": "autocast-bf16"},
    "lamb": {"optimizer": "{type: lamb, lr: 0.02}", "zero": "{stage: 1}", "precision": "fp16"},
}


@pytest.mark.parametrize(
    ("target", "more"),
    [
        ("zerotrain", ["optimizer"]),
        ("deepspeed", ["optimizer", "scheduler", "tensorboard"]),
        ("hf", ["optimizer", "scheduler"]),
        ("accelerate", []),
    ],
)
def test_every_reader_finds_its_sections_and_no_others(compiled: Compiled, target: str, more: list[str]) -> None:
    config = compiled(target, schedule="{type: cosine}", monitor="{tensorboard: true}")

    assert list(config.as_dict()) == [*ALWAYS, *more]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", SPECS)
def test_compiling_is_deterministic_and_leaves_no_auto(compiled: Compiled, name: str, target: str) -> None:
    text = compiled(target, **SPECS[name]).as_json()

    assert text == compiled(target, **SPECS[name]).as_json()
    assert '"auto"' not in text
    assert "null" not in text


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", SPECS)
def test_every_value_comes_from_a_key_of_a_spec_or_from_zerotrain(compiled: Compiled, name: str, target: str) -> None:
    for key, setting in compiled(target, **SPECS[name]).settings().items():
        assert setting.source == ZEROTRAIN or is_key(setting.source), key
        assert setting.why, key


def is_key(source: str) -> bool:
    """Tells whether a dotted key exists in a spec."""
    path = undotted(source)
    if path[0] == "deepspeed":
        return len(path) > 1
    return all(path[i] in known_keys(RunSpec, path[:i]) for i in range(len(path)))


@pytest.mark.parametrize("name", SPECS)
def test_only_what_is_written_is_said_to_be(settled: Settled, compiled: Compiled, name: str, tmp_path) -> None:
    settings = compiled("deepspeed", **SPECS[name]).settings()
    written = read_spec(tmp_path / "run.yaml").tree.marks

    claimed = [s.source for s in settings.values() if s.why == "as written" and undotted(s.source) not in written]
    assert claimed == []


# The `deepspeed` block


def test_raw_keys_are_added_at_the_top_and_inside_compiled_sections(compiled: Compiled) -> None:
    config = compiled(
        deepspeed="{comms_logger: {enabled: true}, zero_optimization: {round_robin_gradients: true}}",
        zero="{stage: 2}",
    )
    plain = config.as_dict()

    assert plain["comms_logger"] == {"enabled": True}
    assert plain["zero_optimization"]["round_robin_gradients"] is True
    assert plain["zero_optimization"]["stage"] == 2
    assert config.settings()["comms_logger.enabled"].source == "deepspeed.comms_logger.enabled"


def test_raw_keys_do_not_change_what_is_compiled(compiled: Compiled) -> None:
    plain = compiled().as_dict()
    with_raw = compiled(deepspeed="{comms_logger: {enabled: true}}").as_dict()

    assert {**plain, "comms_logger": {"enabled": True}} == with_raw


@pytest.mark.parametrize(
    ("raw", "key", "message", "help"),
    [
        (
            "{gradient_clipping: 0.5}",
            "deepspeed.gradient_clipping",
            "`gradient_clipping` is compiled from `optimizer.clip_norm`",
            "set `optimizer.clip_norm` instead",
        ),
        (
            "{gradient_clipping: 1.0}",
            "deepspeed.gradient_clipping",
            "`gradient_clipping` is compiled from `optimizer.clip_norm`",
            "set `optimizer.clip_norm` instead",
        ),
        (
            "{gradient_clipping: null}",
            "deepspeed.gradient_clipping",
            "`gradient_clipping` is compiled from `optimizer.clip_norm`",
            "set `optimizer.clip_norm` instead",
        ),
        (
            "{zero_optimization: {stage: 3}}",
            "deepspeed.zero_optimization.stage",
            "`zero_optimization.stage` is compiled from `zero.stage`",
            "set `zero.stage` instead",
        ),
        (
            "{zero_optimization: 3}",
            "deepspeed.zero_optimization",
            "`zero_optimization` is a compiled section of keys, and cannot be replaced by a single value",
            "write the keys of `zero_optimization` you need",
        ),
        (
            "{optimizer: {params: {lr: 1.0}}}",
            "deepspeed.optimizer.params.lr",
            "`optimizer.params.lr` is compiled from `optimizer.lr`",
            "set `optimizer.lr` instead",
        ),
        (
            "{fp16: {enabled: true}}",
            "deepspeed.fp16.enabled",
            "`fp16.enabled` is compiled from `precision.dtype`",
            "set `precision.dtype` instead",
        ),
        (
            "{wall_clock_breakdown: true}",
            "deepspeed.wall_clock_breakdown",
            "`wall_clock_breakdown` is always false in a run of zerotrain's: its timers synchronize the device",
            "remove it here",
        ),
        (
            "{steps_per_print: {a: 1}}",
            "deepspeed.steps_per_print",
            "`steps_per_print` is always 100 in a run of zerotrain's: "
            "DeepSpeed's own line in the rank log, now and then",
            "remove it here",
        ),
    ],
)
def test_a_compiled_key_cannot_be_overwritten(compiled: Compiled, raw: str, key: str, message: str, help: str) -> None:
    with pytest.raises(SpecError) as refused:
        compiled(deepspeed=raw)

    (finding,) = refused.value.findings
    assert (finding.code, finding.place.key) == ("ZT310", key)
    assert (finding.message, finding.help) == (message, help)


def test_a_value_in_a_message_is_shown_as_it_would_be_written(compiled: Compiled) -> None:
    with pytest.raises(SpecError) as refused:
        compiled(deepspeed="{wall_clock_breakdown: true}")

    assert "False" not in refused.value.findings[0].message


def test_every_overwritten_key_is_told_at_once(compiled: Compiled) -> None:
    with pytest.raises(SpecError) as refused:
        compiled(deepspeed="{gradient_clipping: 1, train_batch_size: 2, bf16: {enabled: true}}")

    assert [finding.place.key for finding in refused.value.findings] == [
        "deepspeed.gradient_clipping",
        "deepspeed.train_batch_size",
        "deepspeed.bf16.enabled",
    ]


@pytest.mark.parametrize("raw", ["{scheduler: {type: WarmupLR, params: {}}}", "{bfloat16: {enabled: true}}"])
def test_a_key_that_works_against_a_compiled_one_is_refused_in_a_run(compiled: Compiled, raw: str) -> None:
    # Our loop sets the rate; `bfloat16` is DeepSpeed's old name of `bf16`, read only where `bf16` is not given.
    with pytest.raises(SpecError):
        compiled("zerotrain", deepspeed=raw)


@pytest.mark.parametrize("name", SPECS)
def test_the_settings_are_the_leaves_of_the_json(compiled: Compiled, name: str) -> None:
    config = compiled("deepspeed", **SPECS[name])

    assert [key for key, _ in leaves(config.as_dict())] == list(config.settings())
    assert json.loads(config.as_json()) == config.as_dict()


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def test_the_spec_is_not_changed_by_compiling(settled: Settled) -> None:
    resolved = settled(deepspeed="{comms_logger: {enabled: true}}")
    before = resolved.spec.model_dump()
    compile_spec(resolved, "deepspeed").as_dict()["comms_logger"]["enabled"] = False

    assert resolved.spec.model_dump() == before
