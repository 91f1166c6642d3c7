"""Which parameters move alike."""

from __future__ import annotations

from collections.abc import Callable

from zerotrain.compile.resolve import Resolved
from zerotrain.compile.sections.groups import Group, parameter_groups, unsaid

Settled = Callable[..., Resolved]

DIMENSIONS = {"embed.weight": 2, "a.weight": 2, "a.bias": 1, "experts.up_bias": 2, "norm.weight": 1, "b.weight": 2}


def grouped(settled: Settled, optimizer: str) -> list[Group]:
    return parameter_groups(settled(optimizer=f"{{type: adamw, lr: 1.0, {optimizer}}}").spec.optimizer, DIMENSIONS)


def test_norms_and_biases_are_not_decayed(settled: Settled) -> None:
    assert grouped(settled, "weight_decay: 0.1") == [
        Group("group0", ("embed.weight", "a.weight", "b.weight"), None, 0.1),
        Group("group1", ("a.bias", "experts.up_bias", "norm.weight"), None, 0.0),
    ]


def test_without_weight_decay_or_with_it_for_all_there_is_one_group(settled: Settled) -> None:
    everything = tuple(DIMENSIONS)

    assert grouped(settled, "weight_decay: 0.0") == [Group("group0", everything, None, 0.0)]
    assert grouped(settled, "weight_decay: 0.1, decay_norms_and_biases: true") == [
        Group("group0", everything, None, 0.1)
    ]


def test_the_first_pattern_wins_and_a_group_keeps_what_it_does_not_say(settled: Settled) -> None:
    groups = "[{match: '^embed', lr: 0.5}, {match: weight, weight_decay: 0.3}, {match: embed, lr: 9.0}]"

    assert grouped(settled, f"weight_decay: 0.1, groups: {groups}") == [
        Group("group0", ("a.bias", "experts.up_bias"), None, 0.0),
        Group("group1", ("a.weight", "norm.weight", "b.weight"), None, 0.3),
        Group("group2", ("embed.weight",), 0.5, 0.1),
    ]


def test_only_groups_of_the_user_are_missed_in_the_json(settled: Settled) -> None:
    with_groups = settled(optimizer="{type: adamw, lr: 1.0, groups: [{match: embed, lr: 0.5}]}").spec.optimizer
    without = settled(optimizer="{type: adamw, lr: 1.0, weight_decay: 0.1}").spec.optimizer
    finding = unsaid(with_groups)

    assert finding is not None
    assert (finding.code, finding.place.key) == ("ZT156", "optimizer.groups")
    assert unsaid(without) is None
