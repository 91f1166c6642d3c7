"""Every code that exists, and how it is found."""

from __future__ import annotations

import pytest

from zerotrain.check.registry import RULES, find_rule


@pytest.mark.parametrize("wanted", ["ZT101", "zt101", "Zt101", "indivisible-global-batch", "Indivisible-Global-Batch"])
def test_a_rule_is_found_by_code_or_name_in_any_case(wanted: str) -> None:
    found = find_rule(wanted)

    assert found is not None
    assert found.code == "ZT101"


@pytest.mark.parametrize("wanted", ["", "ZT", "ZT1", "ZT9999", "101", "batch"])
def test_a_part_of_a_code_finds_nothing(wanted: str) -> None:
    assert find_rule(wanted) is None


def test_every_rule_is_found_by_both() -> None:
    assert all(find_rule(rule.code) is rule for rule in RULES)
    assert all(find_rule(rule.name) is rule for rule in RULES)
