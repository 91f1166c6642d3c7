"""How two sets of nested values differ, leaf by leaf."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ABSENT = object()
"""Stands for a key that is not there."""


def unequal(
    a: Mapping[str, Any], b: Mapping[str, Any], in_a: Mapping[str, Any], in_b: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """Yields every dotted key on which two mappings differ, with both values; `ABSENT` where it is not there.

    `in_a` and `in_b` say what an absent key is worth on its side.
    """
    left, right = dict(leaves(a)), dict(leaves(b))
    for key in dict.fromkeys((*left, *right)):
        one, other = left.get(key, in_a.get(key, ABSENT)), right.get(key, in_b.get(key, ABSENT))
        differs = one is ABSENT or other is ABSENT or not same(one, other)
        if differs and not _is_only_a_heading(key, one, other, left, right):
            yield key, left.get(key, ABSENT), right.get(key, ABSENT)


def same(one: Any, other: Any) -> bool:
    """Tells whether two values are the same, `1` and `1.0` too, but not `1` and `true`."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every value that is not a section with keys in it, under its dotted key."""
    if isinstance(value, Mapping) and value:
        for key, inside in value.items():
            yield from leaves(inside, f"{path}.{key}" if path else str(key))
    elif path:
        yield path, value


def _is_only_a_heading(key: str, one: Any, other: Any, left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Tells whether a key is an empty section on one side, whose keys on the other side differ by themselves."""
    there = right if one == {} else left if other == {} else {}
    return any(known.startswith(f"{key}.") for known in there)
