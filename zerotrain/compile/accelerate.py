"""The DeepSpeed config that Accelerate makes of its own YAML (accelerate/utils/dataclasses.py, `DeepSpeedPlugin`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OWN_KEYS = ("distributed_type", "deepspeed_config", "compute_environment", "mixed_precision")


def is_accelerate(data: Any) -> bool:
    """Tells whether a file's content is a config of Accelerate's."""
    return isinstance(data, Mapping) and any(key in data for key in _OWN_KEYS) and "zero_optimization" not in data


def named_config(data: Mapping[str, Any]) -> str | None:
    """Returns the path of the DeepSpeed config that the file refers to, if it does."""
    name = _plugin(data).get("deepspeed_config_file")
    return name if isinstance(name, str) else None


def ranks_of(data: Mapping[str, Any]) -> int | None:
    """Returns the number of processes."""
    ranks = data.get("num_processes")
    return ranks if isinstance(ranks, int) and not isinstance(ranks, bool) and ranks > 0 else None


def deepspeed_config(data: Mapping[str, Any], named: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns the config DeepSpeed is given; `named` is the content of the file it refers to."""
    config = dict(named) if named is not None else _made(_plugin(data))
    dtype = data.get("mixed_precision")
    if dtype == "fp16" and "fp16" not in config:
        config["fp16"] = {"enabled": True, "auto_cast": True}
    elif dtype in ("bf16", "fp8") and "bf16" not in config:
        config["bf16"] = {"enabled": True}
    return config


def _plugin(data: Mapping[str, Any]) -> Mapping[str, Any]:
    section = data.get("deepspeed_config")
    return section if isinstance(section, Mapping) else {}


def _made(plugin: Mapping[str, Any]) -> dict[str, Any]:
    zero: dict[str, Any] = {"stage": plugin.get("zero_stage", 2)}
    for name in ("offload_optimizer", "offload_param"):
        device = plugin.get(f"{name}_device", "none")
        zero[name] = {"device": device}
        if device == "nvme" and f"{name}_nvme_path" in plugin:
            zero[name]["nvme_path"] = plugin[f"{name}_nvme_path"]
    zero["stage3_gather_16bit_weights_on_model_save"] = plugin.get("zero3_save_16bit_model", False)
    config = {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": plugin.get("gradient_accumulation_steps", "auto"),
        "zero_optimization": zero,
    }
    clipping = plugin.get("gradient_clipping", "auto")
    return {**config, "gradient_clipping": clipping} if clipping else config
