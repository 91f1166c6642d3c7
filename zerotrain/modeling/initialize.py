"""Initial weights as a pure function of the seed and the place in the model.

Each module is initialized under a seed of its own, derived from its name, in fp32. So ZeRO stage, dtype, number of
ranks and order of construction do not change the weights a run starts from; rounding to the training dtype comes last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import deepspeed
import torch
from torch import nn
from transformers import PreTrainedModel

_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential, PreTrainedModel)
"""Modules whose own initialization never reaches into their children: gathering these would gather a whole model."""


def initialize_weights(
    model: PreTrainedModel, seed: int, *, only: Collection[str] | None = None, within: Sequence[str] | None = None
) -> None:
    """Gives every parameter its initial value, by the architecture's own rules.

    With the names of some parameters, `only` the modules that own one of them; with those of some modules, what is
    `within` them. Parameters that ZeRO stage 3 has partitioned are gathered one module at a time. All ranks must call
    this.
    """
    for name, module, owner in _children_first(model, "", model):
        if only is not None and not _owned(module, name) & set(only):
            continue
        if within is not None and not f"{name}.".startswith(tuple(f".{part}." for part in within)):
            continue
        _initialize(module, name, owner, seed)
    model.tie_weights()


def initialize_part(part: nn.Module, name: str, model: PreTrainedModel, seed: int) -> None:
    """Gives the parameters of a part of a model their initial values, as if it stood under that name."""
    for inside, module, owner in _children_first(part, f".{name}", model):
        _initialize(module, inside, owner, seed)


def _initialize(module: nn.Module, name: str, owner: PreTrainedModel, seed: int) -> None:
    parameters = list(module.parameters(recurse=not isinstance(module, _CONTAINERS)))
    _raise_buffers(module)
    with _gathered(parameters), _in_fp32(parameters), torch.no_grad():
        torch.manual_seed(derived_seed(seed, name))
        owner._init_weights(module)


def _owned(module: nn.Module, name: str) -> set[str]:
    """Returns the full names of the parameters that are a module's own, not its children's."""
    return {f"{name}.{own}".removeprefix(".") for own, _ in module.named_parameters(recurse=False)}


def recompute_buffers(model: PreTrainedModel) -> None:
    """Computes in fp32 again what has no parameters, such as rotary frequencies.

    Under `zero.Init` every floating tensor a constructor makes has the training dtype, buffers too, whereas at the
    other stages DeepSpeed leaves buffers in fp32 (runtime/engine.py, `_cast_module_mixed_precision`).
    """
    for _, module, owner in _children_first(model, "", model):
        if any(True for _ in module.buffers(recurse=False)) and not any(True for _ in module.parameters()):
            _raise_buffers(module)
            owner._init_weights(module)


def derived_seed(seed: int, *path: object) -> int:
    """Returns a seed of its own for a place, by hashing; in the range torch takes."""
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest())


def _children_first(
    module: nn.Module, name: str, owner: PreTrainedModel
) -> Iterator[tuple[str, nn.Module, PreTrainedModel]]:
    """Yields each module after its children, with the model whose rules it follows."""
    rules = module if isinstance(module, PreTrainedModel) else owner
    for child_name, child in module.named_children():
        yield from _children_first(child, f"{name}.{child_name}", rules)
    yield name, module, rules


def _raise_buffers(module: nn.Module) -> None:
    for name, buffer in module.named_buffers(recurse=False):
        if buffer.is_floating_point() and buffer.dtype != torch.float32:
            setattr(module, name, buffer.float())


def _gathered(parameters: list[nn.Parameter]) -> AbstractContextManager[object]:
    if not any(hasattr(parameter, "ds_id") for parameter in parameters):
        return nullcontext()
    return deepspeed.zero.GatheredParameters(parameters, modifier_rank=0)


@contextmanager
def _in_fp32(parameters: list[nn.Parameter]) -> Generator[None]:
    """Draws in fp32 whatever the dtype, because torch draws other numbers in other dtypes."""
    dtypes = [parameter.dtype for parameter in parameters]
    for parameter in parameters:
        parameter.data = parameter.data.float()
    yield
    for parameter, dtype in zip(parameters, dtypes, strict=True):
        parameter.data = parameter.data.to(dtype)
