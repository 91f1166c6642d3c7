"""The parameters of DeepSpeed's optimizers and schedulers, read from its text, which needs no GPU and no kernels."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from pathlib import Path
from typing import Any

import deepspeed  # noqa: TID253
import torch  # noqa: TID253
from deepspeed.runtime import config as parser  # noqa: TID253
from deepspeed.runtime.engine import DeepSpeedEngine  # noqa: TID253
from deepspeed.runtime.lr_schedules import VALID_LR_SCHEDULES  # noqa: TID253

PACKAGE = Path(deepspeed.__file__).parent

Entry = dict[str, Any]


def schedulers() -> dict[str, Entry]:
    """Returns the signature of every scheduler of DeepSpeed's, by type."""
    return {name: _signature("runtime/lr_schedules.py", name) for name in VALID_LR_SCHEDULES}


def optimizers() -> dict[str, Entry]:
    """Returns the signature of every optimizer DeepSpeed knows by its lower-case type."""
    return {name: _optimizer(name) for name in parser.DEEPSPEED_OPTIMIZERS}


_BUILT: dict[str, tuple[str, ...]] = {
    "adam": ("ops/adam/fused_adam.py:FusedAdam", "ops/adam/cpu_adam.py:DeepSpeedCPUAdam"),
    "adamw": ("ops/adam/fused_adam.py:FusedAdam", "ops/adam/cpu_adam.py:DeepSpeedCPUAdam"),
    "adagrad": ("torch:Adagrad", "ops/adagrad/cpu_adagrad.py:DeepSpeedCPUAdagrad"),
    "lamb": ("ops/lamb/fused_lamb.py:FusedLamb",),
    "lion": ("ops/lion/fused_lion.py:FusedLion", "ops/lion/cpu_lion.py:DeepSpeedCPULion"),
    "muadam": ("torch:Adam",),
    "muadamw": ("torch:AdamW",),
    "musgd": ("torch:SGD",),
    "onebitadam": ("runtime/fp16/onebit/adam.py:OnebitAdam",),
    "onebitlamb": ("runtime/fp16/onebit/lamb.py:OnebitLamb",),
    "zerooneadam": ("runtime/fp16/onebit/zoadam.py:ZeroOneAdam",),
}
"""The classes a type may stand for, by device and offload."""

_GIVEN = {"self", "params", "model_params", "optimizer", "deepspeed", "adamw_mode", "max_grad_norm"}
"""Parameters DeepSpeed passes itself, and the one it refuses for every optimizer."""


def _optimizer(name: str) -> Entry:
    if name == "muon":
        return _muon()
    merged: Entry = {"params": {}}
    for source in reversed(_BUILT[name]):
        file, _, class_name = source.partition(":")
        built = _torch_signature(class_name) if file == "torch" else _signature(file, class_name)
        merged["params"] |= built["params"]
    if name in ("adam", "adamw"):
        merged["params"] |= _popped()
        merged["torch_only"] = sorted(set(_torch_signature("AdamW")["params"]) - set(merged["params"]))
    if name.startswith("mu"):  # of the package mup, which adds this one
        merged["params"]["decoupled_wd"] = False
    return merged


def _muon() -> Entry:
    """Muon looks up what it knows by name and leaves the rest."""
    names = {"lr", "muon_lr", "adam_lr", "momentum", "betas", "eps", "weight_decay", "ns_method", "per_head_muon"}
    known = texts_of("runtime/engine.py") | texts_of("__init__.py")
    defaults = _muon_defaults()
    params = {name: defaults.get(name) for name in names & known}
    shares_adam = hasattr(DeepSpeedEngine, "get_optimizer_configuration")  # before, it had an Adam of its own
    return {"params": params | (_popped() if shares_adam else {}), "drops_unknown": True}


def _muon_defaults() -> Entry:
    """Returns what Muon puts in for a missing parameter, where both halves put in the same."""
    found: dict[str, list[Any]] = {}
    for node in ast.walk(tree_of("runtime/zero/muon/original_muon.py")):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "group.get":
            name, default = (_json(ast.literal_eval(argument)) for argument in node.args)
            found.setdefault(name, []).append(default)
    return {name: defaults[0] for name, defaults in found.items() if all(each == defaults[0] for each in defaults)}


def _popped() -> dict[str, Any]:
    """Returns the parameters of Adam the engine takes out before it builds the optimizer."""
    popped: dict[str, Any] = {}
    for node in ast.walk(tree_of("runtime/engine.py")):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "optimizer_parameters.pop":
            name, default = (_literal(argument) for argument in node.args)
            popped[name] = default
    popped.pop("foreach", None)  # only with `torch_adam`
    return popped


def _literal(node: ast.expr) -> Any:
    return getattr(parser, node.id) if isinstance(node, ast.Name) else ast.literal_eval(node)


def _torch_signature(class_name: str) -> Entry:
    parameters = inspect.signature(getattr(torch.optim, class_name)).parameters
    return {"params": {name: _json(p.default) for name, p in parameters.items() if name not in _GIVEN}}


def _signature(file: str, class_name: str) -> Entry:
    """Returns the signature of a class from its text, since some cannot be imported without a GPU."""
    of_class = next(node for node in tree_of(file).body if isinstance(node, ast.ClassDef) and node.name == class_name)
    start = next(node for node in of_class.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    arguments = [*start.args.args, *start.args.kwonlyargs]
    defaults = [*start.args.defaults, *start.args.kw_defaults]
    given = [None] * (len(arguments) - len(defaults)) + defaults
    params, required = {}, []
    for argument, default in zip(arguments, given, strict=True):
        if argument.arg not in _GIVEN:
            params[argument.arg] = _constant(file, default) if default else None
            required += [] if default else [argument.arg]
    return {"params": params} | ({"required": required} if required else {})


def _constant(file: str, node: ast.expr) -> Any:
    if not isinstance(node, ast.Name):
        return _json(ast.literal_eval(node))
    for line in tree_of(file).body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == node.id:
            return ast.literal_eval(line.value)
    return None


def _json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@cache
def tree_of(file: str) -> ast.Module:
    """Returns a file of DeepSpeed's, parsed."""
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"))


@cache
def texts_of(file: str) -> frozenset[str]:
    """Returns every string that stands in a file of DeepSpeed's; none when there is no such file."""
    if not (PACKAGE / file).exists():
        return frozenset()
    return frozenset(
        node.value for node in ast.walk(tree_of(file)) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
