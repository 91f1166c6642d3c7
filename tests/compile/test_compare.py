"""Nested values are compared leaf by leaf."""

from __future__ import annotations

from typing import Any

import pytest

from zerotrain.compile.compare import ABSENT, leaves, same, unequal


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [(1, 1.0, True), (1, True, False), ([1, [2]], [1.0, [2]], True), ([1], [1, 2], False), (None, None, True)],
)
def test_what_is_the_same(one: Any, other: Any, expected: bool) -> None:
    assert same(one, other) is expected


def test_leaves_are_values_and_empty_sections() -> None:
    assert dict(leaves({"a": {"b": 1, "c": {}}, "d": [{"e": 1}]})) == {"a.b": 1, "a.c": {}, "d": [{"e": 1}]}


def test_an_absent_key_is_worth_what_its_side_says() -> None:
    assert list(unequal({"a": 1}, {"b": 2}, {"b": 3}, {"a": 1})) == [("b", ABSENT, 2)]
