"""The parameter groups of the optimizer, which JSON cannot say: they are handed to `deepspeed.initialize`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from zerotrain.diagnostic import Diagnostic, warning
from zerotrain.spec.training import OptimizerSpec

_OUTSIDE = -1


@dataclass(frozen=True)
class Group:
    """Parameters that move alike."""

    name: str
    """What the engine's groups are told apart by; Muon's begin with it and go on with `-`."""
    parameters: tuple[str, ...]
    lr: float | None
    """Peak learning rate; None: that of the optimizer."""
    weight_decay: float


def parameter_groups(optimizer: OptimizerSpec, dimensions: Mapping[str, int]) -> list[Group]:
    """Returns the groups of the parameters with these numbers of dimensions; none is empty.

    Groups with the same values are one. Those with the optimizer's own learning rate come first, because metrics report
    the rate of the first; the others follow in the order of the spec.
    """
    placed = sorted(((_place(optimizer, name), name) for name in dimensions), key=lambda place: place[0])
    members: dict[tuple[float | None, float], list[str]] = {}
    for place, name in placed:
        members.setdefault(_values(optimizer, place, name, dimensions[name]), []).append(name)
    ordered = sorted(members.items(), key=lambda entry: entry[0][0] is not None)
    return [Group(f"group{i}", tuple(names), *values) for i, (values, names) in enumerate(ordered)]


def unsaid(optimizer: OptimizerSpec) -> Diagnostic | None:
    """Returns a warning when a script that uses the JSON must make parameter groups itself."""
    if not optimizer.groups:
        return None
    message = f"the {len(optimizer.groups)} groups of parameters are not in the JSON, which has no place for them"
    help = "hand the same groups to `deepspeed.initialize` as `model_parameters`"
    return warning("ZT156", "unsaid-groups", message, key="optimizer.groups", help=help)


def unmatched(patterns: Sequence[str], names: Iterable[str]) -> list[int]:
    """Returns the places of the patterns that no name matches."""
    known = tuple(names)
    return [place for place, pattern in enumerate(patterns) if not any(re.search(pattern, name) for name in known)]


def unmatched_words(pattern: str, names: Sequence[str]) -> tuple[str, str]:
    """Returns what is said of a pattern that none of these names matches, and the way out."""
    message = f"`{pattern}` matches none of the {len(names)} parameters that could be meant"
    like = " and ".join(f"`{name}`" for name in (*names[:1], *names[-1:]))
    return message, f"match a name such as {like}" if like else "remove it"


def frozen(patterns: Sequence[str], names: Iterable[str]) -> list[str]:
    """Returns the names that any of the patterns matches."""
    return [name for name in names if any(re.search(pattern, name) for pattern in patterns)]


def _place(optimizer: OptimizerSpec, name: str) -> int:
    """Returns the place of the first group whose pattern is in the name."""
    return next((i for i, group in enumerate(optimizer.groups) if re.search(group.match, name)), _OUTSIDE)


def _values(optimizer: OptimizerSpec, place: int, name: str, dimensions: int) -> tuple[float | None, float]:
    is_decayed = optimizer.decay_norms_and_biases or (dimensions > 1 and not name.endswith("bias"))
    usual = optimizer.weight_decay if is_decayed else 0.0
    if place == _OUTSIDE:
        return None, usual
    group = optimizer.groups[place]
    return group.lr, usual if group.weight_decay is None else group.weight_decay
