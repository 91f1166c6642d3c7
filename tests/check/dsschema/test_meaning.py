"""Two configs that look different come to the same when DeepSpeed takes them for the same."""

from __future__ import annotations

from typing import Any

import pytest

from zerotrain.check.dsschema.meaning import implied, is_read, spelled
from zerotrain.check.dsschema.schema import schema_of

SCHEMA = schema_of()


def test_an_alias_is_spelled_as_the_key_it_stands_for() -> None:
    config = {"zero_optimization": {"stage3_prefetch_bucket_size": 7, "stage": 3}, "mine": {"stage3_x": [1]}}

    assert spelled(config, SCHEMA) == {
        "zero_optimization": {"prefetch_bucket_size": 7, "stage": 3},
        "mine": {"stage3_x": [1]},
    }


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("zero_optimization", True),
        ("zero_optimization.stage", True),
        ("zero_optimization.stage3_prefetch_bucket_size", True),
        ("zero_optimization.stag", False),
        ("zero_optimisation.stage", False),
        ("optimizer.params.anything.inside", True),
        ("nebula", False),
        ("nebula.enabled", False),
        ("", False),
    ],
)
def test_what_deepspeed_reads(key: str, expected: bool) -> None:
    assert is_read(key, SCHEMA) is expected


@pytest.mark.parametrize(
    ("config", "key", "value"),
    [
        ({}, "gradient_clipping", 1.0),
        ({}, "zero_optimization.stage", 0),
        ({}, "data_types.grad_accum_dtype", "fp32"),
        ({"bf16": {"enabled": True}}, "data_types.grad_accum_dtype", "bf16"),
        ({"fp16": {"enabled": True}}, "communication_data_type", "fp16"),
        ({"zero_optimization": {"stage": 2}}, "zero_optimization.overlap_comm", False),
        ({"zero_optimization": {"stage": 3}}, "zero_optimization.overlap_comm", True),
        ({"optimizer": {"type": "AdamW"}}, "optimizer.params.eps", 1e-8),
        ({"optimizer": {"type": "SGD"}}, "optimizer.params.nesterov", False),
        ({"scheduler": {"type": "WarmupLR"}}, "scheduler.params.warmup_type", "log"),
    ],
)
def test_what_a_key_is_worth_that_is_not_written(config: Any, key: str, value: Any) -> None:
    assert implied(config, SCHEMA)[key] == value


@pytest.mark.parametrize("wrong", [None, 1, "x", [1], {"type": [1]}, {"enabled": "x"}, {"params": 3}])
def test_values_of_any_kind_do_no_harm(wrong: Any) -> None:
    for key in ("optimizer", "scheduler", "bf16", "zero_optimization"):
        assert implied({key: wrong}, SCHEMA)
        assert key in spelled({key: wrong}, SCHEMA)
