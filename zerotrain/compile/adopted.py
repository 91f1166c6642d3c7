"""The fields of a spec that keys of a DeepSpeed config come from: the compiler's sections, read backwards."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard, get_args

from zerotrain.spec.training import OptimizerSpec

_AUTO = "auto"
_GPUS_PER_NODE = 8

PLACEHOLDERS: Mapping[str, str] = {
    "model": "the model you train, or `pretrained:` weights",
    "data": "your data, its tokenizer and the length of a sample",
    "batch": "the batch sizes you train with",
    "horizon": "the length of training",
    "optimizer": "the optimizer you train with",
    "optimizer.lr": "the peak learning rate",
    "schedule": "the schedule of the learning rate",
    "precision": "the number formats",
    "zero": "what is partitioned and offloaded",
    "activation_checkpointing": "what is recomputed",
    "monitor": "where metrics go",
    "hardware": "the machines you train on",
}
"""What a DeepSpeed config does not say, and what is to be put there."""

SUBSTITUTES: Mapping[str, Any] = {
    "batch": {"global_batch_size": 1, "micro_batch_size": 1},
    "horizon": "1000 steps",
    "optimizer": {"type": "adamw", "lr": 1.0e-4},
    "schedule": {"type": "constant"},
    "precision": {"dtype": "bf16"},
    "zero": {"stage": 0},
    "activation_checkpointing": {"granularity": "none"},
    "monitor": {"tensorboard": False},
    "hardware": {"gpu": "H100-SXM"},
}
"""Sections that always have a meaning, for those whose values in the config have none."""

_OPTIMIZERS: Mapping[str, Any] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(get_args(OptimizerSpec)[0])
}
_SIZES_AT: Mapping[int, tuple[str, ...]] = {
    0: (),
    1: ("reduce_bucket_size", "allgather_bucket_size"),
    2: ("reduce_bucket_size", "allgather_bucket_size"),
    3: (
        "reduce_bucket_size",
        "prefetch_bucket_size",
        "param_persistence_threshold",
        "max_live_parameters",
        "sub_group_size",
    ),
}


_UNSAID: Mapping[str, Any] = {
    "model": {
        "architecture": "llama",
        "config": {
            "hidden_size": 2048,
            "intermediate_size": 5632,
            "num_hidden_layers": 16,
            "num_attention_heads": 16,
        },
    },
    "data": {
        "train": [{"type": "python_stdlib"}],
        "tokenizer": {"type": "bpe", "vocab_size": 4096},
        "seq_len": 1024,
    },
}
"""A small model and data that every machine has."""


@dataclass
class Fields:
    """Sections of a spec, and which of them are placeholders."""

    spec: dict[str, Any] = field(default_factory=dict[str, Any])
    open: list[str] = field(default_factory=list[str])


def without_auto(config: Mapping[str, Any], path: str = "") -> tuple[dict[str, Any], list[str]]:
    """Returns a config without what is `auto` in it, and the dotted keys of that."""
    kept, autos = dict[str, Any](), list[str]()
    for key, value in config.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping):
            kept[key], inside = without_auto(value, here)
            autos += inside
        elif value == _AUTO:
            autos.append(here)
        else:
            kept[key] = value
    return kept, autos


def fields_of(config: Mapping[str, Any], implied: Mapping[str, Any], world_size: int | None) -> Fields:
    """Returns the sections of a spec for a config without `auto`."""
    fields = Fields(copy.deepcopy(dict(_UNSAID)), [*_UNSAID, "hardware"])
    ranks = _batch(config, world_size, fields)
    _optimizer(config, implied, fields)
    _schedule(config, implied, fields)
    fields.spec["precision"] = _precision(config, implied)
    fields.spec["zero"] = _zero(config, implied)
    if _section(config, "zero_optimization").get("stage", 0) != fields.spec["zero"]["stage"]:
        fields.open.append("zero")
    if isinstance(config.get("activation_checkpointing"), Mapping):
        fields.spec["activation_checkpointing"] = _recompute(config["activation_checkpointing"])
    if _section(config, "compile").get("deepcompile") is True:
        fields.spec["compile"] = {"method": "deepcompile"}
    if _is_on(config, "tensorboard"):
        fields.spec["monitor"] = {"tensorboard": True}
    _hardware(ranks, fields)
    return fields


def _batch(config: Mapping[str, Any], world_size: int | None, fields: Fields) -> int:
    """Sets the batch; returns the number of ranks, the one the sizes come to if they are all given."""
    total, micro, steps = (
        _whole(config.get(key))
        for key in ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
    )
    if total and micro and steps and total % (micro * steps) == 0:
        ranks = total // (micro * steps)
    else:
        ranks = world_size or 1
    steps = steps or (max(1, total // (micro * ranks)) if total and micro else 1)
    micro = micro or (max(1, total // (ranks * steps)) if total else 1)
    whole = micro * steps * ranks
    if (total or whole) != whole or not (total or config.get("train_micro_batch_size_per_gpu")):
        fields.open.append("batch")
    fields.spec["batch"] = {"global_batch_size": whole, "micro_batch_size": micro}
    return ranks


def _optimizer(config: Mapping[str, Any], implied: Mapping[str, Any], fields: Fields) -> None:
    section = _section(config, "optimizer")
    params = _section(section, "params")
    kind = _kind(section.get("type"), params)
    clip = config.get("gradient_clipping", implied.get("gradient_clipping"))
    rate = params.get("muon_lr", params.get("lr")) if kind == "muon" else params.get("lr")
    if kind is None:
        fields.open.append("optimizer")
    elif not _is_positive(rate):
        fields.open.append("optimizer.lr")
    given: dict[str, Any] = {"type": kind or "adamw", "lr": rate if _is_positive(rate) else 1.0e-4}
    known = _OPTIMIZERS[given["type"]].model_fields if kind else {}
    for name in known:
        value = params.get(name, implied.get(f"optimizer.params.{name}"))
        if name not in ("type", "lr", "clip_norm") and value is not None:
            given[name] = value
    given["clip_norm"] = clip if _is_positive(clip) else None
    fields.spec["optimizer"] = given


def _kind(written: Any, params: Mapping[str, Any]) -> str | None:
    """Returns the type of our own; DeepSpeed's `Adam` is AdamW unless told otherwise."""
    kind = written.lower() if isinstance(written, str) else None
    if kind == "adam" and params.get("adam_w_mode", True) is True:
        return "adamw"
    return kind if kind in _OPTIMIZERS else None


_SCHEDULES = {"WarmupLR": "constant", "WarmupDecayLR": "linear", "WarmupCosineLR": "cosine"}


def _schedule(config: Mapping[str, Any], implied: Mapping[str, Any], fields: Fields) -> None:
    section = _section(config, "scheduler")
    written = _section(section, "params")
    params = {name.rpartition(".")[2]: v for name, v in implied.items() if name.startswith("scheduler.params.")} | {
        **written
    }
    kind = _SCHEDULES.get(str(section.get("type")), "constant")
    steps, warmup = _whole(params.get("total_num_steps")), _whole(params.get("warmup_num_steps"))
    schedule: dict[str, Any] = {"type": kind}
    if section.get("type") in _SCHEDULES and warmup:
        schedule["warmup"] = f"{warmup} steps"
    peak = params.get("warmup_max_lr")
    if kind == "cosine":
        schedule["min_lr_ratio"] = params.get("cos_min_ratio", 0.0)
    elif kind == "linear" and _is_positive(peak) and _is_positive(params.get("warmup_min_lr")):
        schedule["min_lr_ratio"] = min(1.0, params["warmup_min_lr"] / peak)
    fields.spec["horizon"] = f"{steps or 1000} steps"
    if not steps:
        fields.open.append("horizon")
    fields.spec["schedule"] = schedule


def _precision(config: Mapping[str, Any], implied: Mapping[str, Any]) -> dict[str, Any]:
    bf16 = _is_on(config, "bf16") or ("bf16" not in config and _is_on(config, "bfloat16"))
    autocast = _is_on(config, "torch_autocast") and not bf16
    dtype = "bf16" if bf16 else "fp16" if _is_on(config, "fp16") else "autocast-bf16" if autocast else "fp32"
    weights = "fp32" if autocast else dtype
    precision: dict[str, Any] = {
        "dtype": dtype,
        "grad_accum_dtype": _section(config, "data_types").get("grad_accum_dtype") or weights,
        "communication_dtype": config.get("communication_data_type") or weights,
    }
    if dtype == "fp16":
        precision["loss_scale"] = _loss_scale(_section(config, "fp16"), implied)
    return precision


def _loss_scale(fp16: Mapping[str, Any], implied: Mapping[str, Any]) -> Any:
    fixed = fp16.get("loss_scale")
    if _is_positive(fixed):
        return float(fixed)
    names = {
        "initial_scale_power": "initial_scale_power",
        "window": "loss_scale_window",
        "hysteresis": "hysteresis",
        "min_scale": "min_loss_scale",
    }
    return {ours: _number(fp16.get(theirs, implied.get(f"fp16.{theirs}"))) for ours, theirs in names.items()}


def _zero(config: Mapping[str, Any], implied: Mapping[str, Any]) -> dict[str, Any]:
    section = config.get("zero_optimization")
    if section is True:  # the form of DeepSpeed 0.2
        section = {"stage": 1}
    written = section if isinstance(section, Mapping) else {}
    stage = _whole(written.get("stage")) or 0
    zero: dict[str, Any] = {"stage": stage}
    for name in _SIZES_AT.get(stage, ()):
        zero[name] = _number(written.get(name, implied.get(f"zero_optimization.{name}")))
    if stage:
        overlaps = written.get("overlap_comm")
        zero["overlap_comm"] = overlaps if isinstance(overlaps, bool) else stage == 3
    for name, old in (("offload_optimizer", "cpu_offload"), ("offload_param", "cpu_offload_param")):
        offload = _offload(_section(written, name), written.get(old) is True, name, implied)
        if offload is not None:
            zero[name] = offload
    return zero


def _offload(written: Mapping[str, Any], is_old: bool, name: str, implied: Mapping[str, Any]) -> dict[str, Any] | None:
    device = written.get("device", "cpu" if is_old else None)
    if device not in ("cpu", "nvme"):
        return None
    offload: dict[str, Any] = {"device": device}
    for key in ("nvme_path", "pin_memory", "ratio"):
        value = written.get(key, implied.get(f"zero_optimization.{name}.{key}"))
        if value is not None and not (key == "ratio" and name == "offload_param"):
            offload[key] = value
    return offload


def _recompute(section: Mapping[str, Any]) -> dict[str, Any]:
    flags = {name: True for name in ("partition_activations", "cpu_checkpointing") if section.get(name) is True}
    return {"granularity": "full", "implementation": "deepspeed", **flags}


def _hardware(ranks: int, fields: Fields) -> None:
    per_node = ranks if ranks <= _GPUS_PER_NODE else _GPUS_PER_NODE
    if ranks % per_node:
        per_node = 1
    nodes = ranks // per_node
    fields.spec["hardware"] = {"gpu": "H100-SXM", "num_nodes": nodes, "gpus_per_node": per_node}
    if nodes > 1:
        fields.spec["launch"] = {"type": "deepspeed", "hostfile": "hostfile"}


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    return section if isinstance(section, Mapping) else {}


def _is_on(config: Mapping[str, Any], name: str) -> bool:
    return _section(config, name).get("enabled") is True


def _number(value: Any) -> Any:
    """Returns a whole number for one that is written as `5e8`."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _whole(value: Any) -> int | None:
    """Returns a positive whole number, or None for anything else."""
    number = _number(value)
    return number if isinstance(number, int) and not isinstance(number, bool) and number > 0 else None


def _is_positive(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")
