"""Which compiled ops a configuration loads."""

from __future__ import annotations

from typing import Any

import pytest

from zerotrain.compile.ops import needed_ops


def config(optimizer: str, **zero: Any) -> dict[str, Any]:
    return {"optimizer": {"type": optimizer}, "zero_optimization": zero}


@pytest.mark.parametrize(
    ("optimizer", "zero", "on_cpu", "expected"),
    [
        ("AdamW", {}, True, ["ShareMemCommBuilder", "FusedAdamBuilder"]),
        ("AdamW", {}, False, ["FusedAdamBuilder"]),
        ("AdamW", {"offload_optimizer": {"device": "cpu"}}, False, ["CPUAdamBuilder"]),
        ("Lion", {"offload_optimizer": {"device": "cpu"}}, False, ["CPULionBuilder"]),
        ("SGD", {}, False, []),
        ("SGD", {"offload_param": {"device": "cpu"}}, False, []),
        ("SGD", {"offload_param": {"device": "nvme"}}, False, ["PinMemoryBuilder", "AsyncIOBuilder"]),
    ],
)
def test_the_optimizer_and_where_its_states_are_decide(
    optimizer: str, zero: dict[str, Any], on_cpu: bool, expected: list[str]
) -> None:
    assert needed_ops(config(optimizer, **zero), on_cpu) == expected
