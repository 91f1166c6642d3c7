"""The teacher of a distillation: served, never trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import deepspeed
import torch
from deepspeed import DeepSpeedEngine
from torch import nn
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.integrations.deepspeed import HfDeepSpeedConfig

from zerotrain.compile.teacher import TEACHER, Sizes, unfit
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import EngineError, SpecError
from zerotrain.modeling.initialize import recompute_buffers
from zerotrain.modeling.load import MODELS
from zerotrain.spec.task import DistillTask, TeacherSpec

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

_SHARED = (
    "stage3_prefetch_bucket_size",
    "stage3_param_persistence_threshold",
    "stage3_max_live_parameters",
    "stage3_max_reuse_distance",
    "offload_param",
)
"""Settings of ZeRO stage 3 that the teacher takes from the student."""


@dataclass(frozen=True)
class Lesson:
    """What a teacher is chosen for."""

    task: DistillTask
    tokens: int
    """Entries of the tokenizer's vocabulary."""
    length: int | None
    """Tokens of a sample."""


def load_teacher(
    lesson: Lesson, student: PreTrainedModel, ds_config: Mapping[str, Any], device: torch.device
) -> nn.Module | DeepSpeedEngine:
    """Returns the teacher in eval mode, whole on every rank, or partitioned as the student is at ZeRO stage 3.

    All ranks must call this. Raises SpecError when it cannot teach this student, before its weights are read, and
    EngineError (ZT694) when it cannot be loaded.
    """
    spec = lesson.task.teacher
    try:
        config = AutoConfig.from_pretrained(spec.pretrained, revision=spec.revision or "main")
    except (OSError, ValueError) as broken:
        raise EngineError(_unloadable(spec, broken)) from None
    problems = list(
        unfit(lesson.task, _sizes(student.config), _sizes(config), tokens=lesson.tokens, length=lesson.length)
    )
    if problems:
        raise SpecError(*problems)
    attention = student.config._attn_implementation or "eager"
    if ds_config["zero_optimization"]["stage"] == 3:
        return _partitioned(spec, config, attention, serving_config(ds_config, spec.dtype))
    whole: Any = _weights(spec, config, attention)
    return whole.to(device)


def serving_config(ds_config: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """Returns the DeepSpeed config of a teacher beside a student at ZeRO stage 3: without optimizer or gradients."""
    zero = ds_config["zero_optimization"]
    return {
        "train_micro_batch_size_per_gpu": ds_config["train_micro_batch_size_per_gpu"],
        "bf16": {"enabled": dtype == "bf16"},
        "fp16": {"enabled": False},
        "zero_optimization": {"stage": 3, **{key: zero[key] for key in _SHARED if key in zero}},
        "steps_per_print": ds_config["steps_per_print"],
    }


def _partitioned(
    spec: TeacherSpec, config: PretrainedConfig, attention: str, serving: dict[str, Any]
) -> DeepSpeedEngine:
    """Returns an engine that gathers the weights of each layer for its forward pass, and lets them go again."""
    # transformers partitions while it loads, for as long as this object lives.
    alive = HfDeepSpeedConfig(dict(serving))
    model = _weights(spec, config, attention)
    del alive
    recompute_buffers(model)
    engine, *_ = deepspeed.initialize(model=model, config=serving)
    engine.eval()
    return engine


def _weights(spec: TeacherSpec, config: PretrainedConfig, attention: str) -> PreTrainedModel:
    try:
        model, found = MODELS["causal_lm"].from_pretrained(
            spec.pretrained,
            config=config,
            revision=spec.revision or "main",
            dtype=_DTYPES[spec.dtype],
            attn_implementation=attention,
            output_loading_info=True,
        )
    except (OSError, ValueError) as broken:
        raise EngineError(_unloadable(spec, broken)) from None
    missing = sorted(found["missing_keys"])
    if missing:
        raise EngineError(_unloadable(spec, f"it lacks `{missing[0]}` and {len(missing) - 1} more weights"))
    model.config.use_cache = False
    return model.requires_grad_(False).eval()


def _sizes(config: PretrainedConfig) -> Sizes:
    text = config.get_text_config()
    names = ("vocab_size", "hidden_size", "num_hidden_layers", "max_position_embeddings")
    return Sizes(*(getattr(text, name, None) for name in names))


def _unloadable(spec: TeacherSpec, reason: Exception | str) -> Diagnostic:
    message = f"the teacher `{spec.pretrained}` cannot be loaded: {next(iter(str(reason).splitlines()), reason)}"
    help = "name a folder or hub id with the weights of a language model"
    return error("ZT694", "unloadable-teacher", message, help=help, key=TEACHER)
