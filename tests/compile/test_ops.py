"""Which compiled ops a configuration loads."""

from __future__ import annotations

from typing import Any

import pytest

from zerotrain.compile.ops import needed_ops, nvme_ops


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
    ],
)
def test_the_optimizer_and_where_its_states_are_decide(
    optimizer: str, zero: dict[str, Any], on_cpu: bool, expected: list[str]
) -> None:
    assert needed_ops(config(optimizer, **zero), on_cpu) == expected


def test_offloading_to_nvme_reads_and_writes_asynchronously() -> None:
    assert nvme_ops(config("AdamW", offload_param={"device": "nvme"})) == ["PinMemoryBuilder", "AsyncIOBuilder"]
    assert nvme_ops(config("AdamW", offload_param={"device": "cpu"})) == []
