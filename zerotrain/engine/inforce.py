"""What DeepSpeed made of a configuration, key by key, in the words of the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

_DTYPES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


def dtype_name(dtype: torch.dtype | None) -> str | None:
    """Returns `fp32`, `fp16` or `bf16`."""
    return None if dtype is None else _DTYPES.get(dtype, str(dtype))


def _tag_validation(config: Any) -> str:
    if not config.checkpoint_tag_validation_enabled:
        return "Ignore"
    return "Fail" if config.checkpoint_tag_validation_fail else "Warn"


_TOP_LEVEL = (
    "train_batch_size",
    "train_micro_batch_size_per_gpu",
    "gradient_accumulation_steps",
    "gradient_clipping",
    "managed_gradient_accumulation",
    "gradient_allreduce_op",
    "prescale_gradients",
    "gradient_predivide_factor",
    "steps_per_print",
    "wall_clock_breakdown",
    "zero_allow_untested_optimizer",
)
"""Keys that are an attribute of the same name."""

_MODELS = {
    "fp16": "float16_config",
    "bf16": "bfloat16_config",
    "zero_optimization": "zero_config",
    "tensor_parallel": "tensor_parallel_config",
}
"""Sections that are a pydantic model of DeepSpeed's."""

_PLAIN = {"activation_checkpointing": "activation_checkpointing_config", "expert_parallel": "expert_parallel_config"}
"""Sections that are an object with an attribute for each key."""

_PARAMETERS = {"optimizer": "optimizer_params", "scheduler": "scheduler_params"}
"""Sections whose `params` DeepSpeed keeps as they are."""

_OTHERS: Mapping[str, Callable[[Any], Any]] = {
    "communication_data_type": lambda config: dtype_name(config.communication_data_type),
    "data_types.grad_accum_dtype": lambda config: config.grad_accum_dtype,
    "compile.deepcompile": lambda config: config.compile_config.deepcompile,
    "torch_autocast.enabled": lambda config: config.torch_autocast_enabled,
    "torch_autocast.dtype": lambda config: dtype_name(config.torch_autocast_dtype),
    "torch_autocast.lower_precision_safe_modules": lambda config: config.torch_autocast_lower_precision_safe_modules,
    "optimizer.type": lambda config: config.optimizer_name,
    "scheduler.type": lambda config: config.scheduler_name,
    "checkpoint.tag_validation": _tag_validation,
    "tensorboard.enabled": lambda config: config.monitor_config.tensorboard.enabled,
    "tensorboard.output_path": lambda config: config.monitor_config.tensorboard.output_path,
    "tensorboard.job_name": lambda config: config.monitor_config.tensorboard.job_name,
}

_UNKNOWN = object()


def values_in_force(config: Any, keys: list[str]) -> dict[str, Any]:
    """Returns what a `deepspeed.DeepSpeedConfig` holds under each dotted key; keys it has no name for are left out."""
    found = ((key, _value(config, key)) for key in keys)
    return {key: value for key, value in found if value is not _UNKNOWN}


def _value(config: Any, key: str) -> Any:
    section, _, inside = key.partition(".")
    if key in _OTHERS:
        return _OTHERS[key](config)
    if key in _TOP_LEVEL:
        return getattr(config, key)
    if section in _MODELS:
        return _from_model(getattr(config, _MODELS[section]), inside.split("."))
    if section in _PARAMETERS and inside.startswith("params."):
        return (getattr(config, _PARAMETERS[section]) or {}).get(inside.removeprefix("params."), _UNKNOWN)
    if section == "pipeline":
        return config.pipeline.get(inside, _UNKNOWN)
    return getattr(getattr(config, _PLAIN[section]), inside, _UNKNOWN) if section in _PLAIN else _UNKNOWN


def _plain(value: Any) -> Any:
    """Returns the value as a configuration says it: the text of an enumeration or a path."""
    return str(value) if isinstance(value, Path) else getattr(value, "value", value)


def _from_model(model: Any, path: list[str]) -> Any:
    for name in path:
        if isinstance(model, Mapping):  # a section that DeepSpeed keeps as it is
            model = model.get(name, _UNKNOWN)
            continue
        fields = type(model).model_fields
        field = name if name in fields else next((f for f, info in fields.items() if info.alias == name), None)
        if field is None:
            return _UNKNOWN
        model = getattr(model, field)
    return _plain(model)
