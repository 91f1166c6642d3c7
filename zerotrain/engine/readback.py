"""After `deepspeed.initialize`: whether the engine uses what was compiled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from deepspeed import DeepSpeedEngine
from deepspeed.runtime.activation_checkpointing import checkpointing
from deepspeed.runtime.pipe.engine import PipelineEngine
from deepspeed.runtime.utils import is_model_parallel_parameter
from deepspeed.utils import z3_leaf_module

from zerotrain.compile.sections.groups import Group
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.engine.device import groups_of
from zerotrain.engine.inforce import dtype_name, values_in_force
from zerotrain.engine.recorder import RecordingDict
from zerotrain.errors import EngineError
from zerotrain.modeling.unwrap import module_of

_CLASSES = {
    "adam": {"FusedAdam", "DeepSpeedCPUAdam"},
    "adamw": {"FusedAdam", "DeepSpeedCPUAdam"},
    "adagrad": {"Adagrad", "DeepSpeedCPUAdagrad"},
    "sgd": {"SGD"},
    "lion": {"FusedLion", "DeepSpeedCPULion"},
    "lamb": {"FusedLamb"},
    "muon": {"MuonWithAuxAdam"},
    "nadam": {"NAdam"},
    "radam": {"RAdam"},
    "rmsprop": {"RMSprop"},
    "adamax": {"Adamax"},
    "adafactor": {"Adafactor"},
}
_VALIDATED = ("zero_optimization.", "compile.", "tensor_parallel.", "timers.throughput.", "pipeline.")
"""Sections with sections inside that pydantic reads: it refuses unknown keys there, and reads past our record. That of
the pipeline is copied as a whole, and read back from its engine."""

_LEAVES = "zero_optimization.leaf_module.classes"

_GROUP_VALUES = (
    *("lr", "betas", "eps", "weight_decay", "momentum", "nesterov", "dampening", "bias_correction"),
    *("momentum_decay", "decoupled_weight_decay", "alpha", "centered", "beta2_decay", "d"),
)


def refuse_differences(engine: DeepSpeedEngine, given: RecordingDict, groups: Sequence[Group]) -> None:
    """Raises EngineError with every value the engine uses otherwise, and every key DeepSpeed never looked at."""
    plain = given.plain()
    problems = [differs(*difference) for difference in differences(engine, plain, groups)]
    problems += [_unread(key) for key in given.unread() if not key.startswith(_VALIDATED)]
    if problems:
        raise EngineError(*problems)


def differences(
    engine: DeepSpeedEngine, given: Mapping[str, Any], groups: Sequence[Group]
) -> Iterator[tuple[str, Any, Any]]:
    """Yields key, given value and value in force, for every value of the engine that is not as given."""
    flat = dict(_leaves(given, ""))
    for key, used in [*values_in_force(engine._config, list(flat)).items(), *_engine_values(engine, flat)]:
        if key in flat and _normal(used) != _normal(flat[key]):
            yield key, flat[key], used
    yield from _optimizer_differences(engine, given)
    yield from _group_differences(engine, given["optimizer"]["params"], groups)


def _engine_values(engine: DeepSpeedEngine, flat: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields what the engine itself uses, beyond what its configuration holds."""
    weights = {dtype_name(p.dtype) for p in engine.parameters() if p.requires_grad and p.is_floating_point()}
    yield "train_batch_size", engine.train_batch_size()
    yield "train_micro_batch_size_per_gpu", engine.train_micro_batch_size_per_gpu()
    yield "gradient_accumulation_steps", engine.gradient_accumulation_steps()
    yield "zero_optimization.stage", engine.zero_optimization_stage()
    yield "bf16.enabled", weights == {"bf16"}
    yield "fp16.enabled", weights == {"fp16"}
    yield "data_types.grad_accum_dtype", dtype_name(engine.get_data_types()[1])
    yield "communication_data_type", dtype_name(engine.communication_data_type)
    clip = getattr(engine.optimizer, "clip_grad", None)
    if clip is not None:
        yield "gradient_clipping", clip
    accumulation = getattr(engine.optimizer, "gradient_accumulation_dtype", None)
    if isinstance(accumulation, torch.dtype):
        yield "data_types.grad_accum_dtype", dtype_name(accumulation)
    yield "tensor_parallel.autotp_size", _tensor_parallel_size(engine)
    if isinstance(engine, PipelineEngine):
        yield from _pipeline_values(engine)
    if "zero_optimization.zero_hpz_partition_size" in flat:
        yield "zero_optimization.zero_hpz_partition_size", _second_copy_size(engine)
    if _LEAVES in flat:
        yield _LEAVES, _found_leaves(engine, flat[_LEAVES])
    if "zero_optimization.offload_optimizer.device" in flat:
        yield "zero_optimization.offload_optimizer.device", _offload_device(engine)


def _found_leaves(engine: DeepSpeedEngine, classes: Sequence[str]) -> list[str]:
    """Returns those of the classes that the model has, and of which every module is gathered as one."""
    is_leaf: dict[str, bool] = {}
    for module in module_of(engine).modules():
        name = f"{type(module).__module__}.{type(module).__qualname__}"
        is_leaf[name] = is_leaf.get(name, True) and z3_leaf_module(module)
    return [name for name in classes if is_leaf.get(name)]


def _tensor_parallel_size(engine: DeepSpeedEngine) -> int:
    """Returns over how many ranks layers are really divided."""
    is_divided = any(is_model_parallel_parameter(parameter) for parameter in engine.parameters())
    return engine.autotp_size() if is_divided else 1


def _second_copy_size(engine: DeepSpeedEngine) -> int:
    """Returns over how many ranks stage 3 divides a second copy of the weights; 1 when it keeps none."""
    parameter: Any = next(engine.parameters())
    return 1 if parameter.ds_zero_param_process_group is None else parameter.ds_secondary_tensor_group_size


def _pipeline_values(engine: PipelineEngine) -> Iterator[tuple[str, Any]]:
    yield "pipeline.activation_checkpoint_interval", module_of(engine).activation_checkpoint_interval
    yield "pipeline.pipe_partitioned", engine.is_pipe_partitioned
    yield "pipeline.grad_partitioned", engine.is_grad_partitioned
    is_reentrant = module_of(engine).activation_checkpoint_func is not checkpointing.non_reentrant_checkpoint
    yield "pipeline.use_reentrant", is_reentrant


def _offload_device(engine: DeepSpeedEngine) -> str:
    """Returns where optimizer states really are; stage 3 and the others name it differently."""
    optimizer = engine.optimizer
    if getattr(optimizer, "swap_optimizer", False):
        return "nvme"
    offloaded = getattr(optimizer, "cpu_offload", False) or getattr(optimizer, "offload_optimizer", False)
    return "cpu" if offloaded else "none"


def _optimizer_differences(engine: DeepSpeedEngine, given: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    kind, params = given["optimizer"]["type"].lower(), given["optimizer"]["params"]
    used = type(engine.basic_optimizer).__name__
    if used not in _CLASSES[kind]:
        yield "optimizer.type", given["optimizer"]["type"], used
    mode = getattr(engine.basic_optimizer, "adam_w_mode", None)
    if mode is not None and bool(mode) != params.get("adam_w_mode"):
        yield "optimizer.params.adam_w_mode", params.get("adam_w_mode"), bool(mode)


def _group_differences(
    engine: DeepSpeedEngine, params: Mapping[str, Any], groups: Sequence[Group]
) -> Iterator[tuple[str, Any, Any]]:
    expected = {group.name: group for group in groups}
    # Experts that are spread over ranks have a name by which DeepSpeed finds their ranks.
    found = [(group, str(group.get("of", group.get("name"))).partition("-")[0]) for group in groups_of(engine)]
    if {name for _, name in found} != set(expected):
        yield "optimizer.groups", sorted(expected), sorted({name for _, name in found})
        return
    for used, name in found:
        for key in _GROUP_VALUES:
            value = _expected(used, params, expected[name], key)
            if key in used and value is not None and _normal(used[key]) != _normal(value):
                yield f"optimizer.params.{key}", value, f"{used[key]} in `{used['name']}`"


def _expected(used: Mapping[str, Any], params: Mapping[str, Any], group: Group, key: str) -> Any:
    """Returns the value a group should have; Muon's Adam part may have a learning rate of its own."""
    if key == "weight_decay":
        return group.weight_decay
    if key == "lr" and group.lr is not None:
        return group.lr
    if key == "lr" and used.get("use_muon") is False:
        return params.get("adam_lr", params["lr"])
    return params.get(key)


def _leaves(section: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _normal(value: Any) -> Any:
    """Brings a value to a form in which equal values compare equal: names in lower case, sequences as lists."""
    value = getattr(value, "value", value)
    if isinstance(value, str):
        return value.lower()
    return list(value) if isinstance(value, tuple) else value


def differs(key: str, given: Any, used: Any) -> Diagnostic:
    """Returns a finding that a value in force is not the one that was given."""
    message = f"`{key}` was compiled as {given!r}, but the engine uses {used!r}"
    help = "install the versions zerotrain is tested with, or report this"
    return error("ZT803", "engine-differs", message, help=help, key=key)


def _unread(key: str) -> Diagnostic:
    message = f"DeepSpeed never looked at `{key}`"
    return error("ZT804", "unread-key", message, help="remove it, or spell it as DeepSpeed reads it", key=key)
