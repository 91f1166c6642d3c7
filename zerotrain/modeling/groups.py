"""Which parameters of a model are trained, and how each of them moves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from deepspeed.moe.utils import is_moe_param
from torch import nn

from zerotrain.compile.sections.groups import Group, frozen, parameter_groups, unmatched, unmatched_words
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import EngineError
from zerotrain.spec.training import OptimizerSpec

_EXPERT = re.compile(r"[.]mlp[.]experts[.]\w+$")


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Takes the parameters that a pattern matches out of training.

    Raises EngineError when a pattern matches nothing, or nothing is left to train.
    """
    parameters = dict(model.named_parameters())
    _refuse_unmatched("model.freeze", patterns, parameters)
    for name in frozen(patterns, parameters):
        parameters[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        message = "`model.freeze` matches all parameters, and nothing is left to train"
        help = "freeze fewer, such as `^model[.]embed_tokens`"
        raise EngineError(error("ZT151", "nothing-to-train", message, help=help, key="model.freeze"))


def trained_groups(model: nn.Module, optimizer: OptimizerSpec) -> list[Group]:
    """Returns the groups of the parameters that are trained.

    Raises EngineError when the pattern of a group matches none of them.
    """
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    _refuse_unmatched("optimizer.groups", [group.match for group in optimizer.groups], trained)
    return parameter_groups(optimizer, {name: _dimensions(parameter) for name, parameter in trained.items()})


def for_optimizer(model: nn.Module, groups: Sequence[Group], expert_ranks: int = 1) -> list[dict[str, Any]]:
    """Returns the groups as `torch.optim` takes them; what a group does not say, it has from the optimizer.

    With experts on several ranks, or in layers of DeepSpeed's own, those of a group stand in one of their own, named as
    DeepSpeed looks for them.
    """
    parameters = dict(model.named_parameters())
    experts = {name for name, parameter in parameters.items() if is_moe_param(parameter)}
    experts |= expert_parameters(parameters) if expert_ranks > 1 else set()
    split: list[dict[str, Any]] = []
    for group in groups:
        values = {"of": group.name, "weight_decay": group.weight_decay} | ({} if group.lr is None else {"lr": group.lr})
        dense = [parameters[name] for name in group.parameters if name not in experts]
        spread = [parameters[name] for name in group.parameters if name in experts]
        split += [{"params": dense, "name": group.name} | values] if dense else []
        split += [{"params": spread, "name": f"ep_size_{expert_ranks}", "moe": True} | values] if spread else []
    return split


def expert_parameters(names: Iterable[str]) -> frozenset[str]:
    """Returns the names of the weights of routed experts, which transformers 5 stacks under `experts`."""
    return frozenset(name for name in names if _EXPERT.search(name))


def _dimensions(parameter: nn.Parameter) -> int:
    """Returns the number of dimensions; a partition of ZeRO stage 3 is flat, and knows its whole shape."""
    return len(getattr(parameter, "ds_shape", parameter.shape))


def _refuse_unmatched(key: str, patterns: Sequence[str], names: dict[str, nn.Parameter]) -> None:
    wrong = [_unmatched(f"{key}[{place}]", patterns[place], names) for place in unmatched(patterns, names)]
    if wrong:
        raise EngineError(*wrong)


def _unmatched(key: str, pattern: str, names: Iterable[str]) -> Diagnostic:
    message, help = unmatched_words(pattern, tuple(names))
    return error("ZT150", "unmatched-pattern", message, help=help, key=key)
