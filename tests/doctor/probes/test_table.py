"""Which machines are asked."""

from __future__ import annotations

from typing import Any

import pytest

from zerotrain.doctor.probes.table import chosen
from zerotrain.spec.launch import DeepSpeedLaunch


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, ["a", "b", "c"]),
        ({"include": "a:0,1@b"}, ["a", "b"]),
        ({"exclude": "a:0@b"}, ["a", "c"]),
    ],
)
def test_the_machines_that_are_used_are_asked(limits: dict[str, Any], expected: list[str]) -> None:
    is_chosen = chosen(DeepSpeedLaunch(type="deepspeed", hostfile="hosts", **limits))

    assert [name for name in ("a", "b", "c") if is_chosen(name)] == expected
