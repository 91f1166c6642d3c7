"""The model of a run: built from a config, or loaded from weights; partitioned from the start at ZeRO stage 3."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import deepspeed
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.initialization import no_init_weights
from transformers.integrations.deepspeed import HfDeepSpeedConfig

from zerotrain.diagnostic import error
from zerotrain.errors import EngineError
from zerotrain.modeling.initialize import initialize_weights, recompute_buffers
from zerotrain.spec.model import ModelSpec

MODELS: Mapping[str, Any] = {
    "causal_lm": AutoModelForCausalLM,
    "masked_lm": AutoModelForMaskedLM,
    "sequence_classification": AutoModelForSequenceClassification,
    "image_classification": AutoModelForImageClassification,
}
"""What builds a model, by its head."""


def load_model(spec: ModelSpec, ds_config: Mapping[str, Any], seed: int, head: str = "causal_lm") -> PreTrainedModel:
    """Returns the model in fp32, or at stage 3 partitioned in the training dtype. All ranks must call this.

    What pretrained weights do not have, such as a new head, is initialized as in a model from scratch. Raises
    EngineError (ZT023) when they are not there.
    """
    partitioned = ds_config["zero_optimization"]["stage"] == 3
    if spec.pretrained is not None:
        return _pretrained(spec.pretrained, spec, ds_config, seed, head)
    config = model_config(spec)
    with _partitioning(ds_config) if partitioned else nullcontext(), no_init_weights():
        model = MODELS[head].from_config(config, dtype=torch.float32, attn_implementation=_attention(spec, config))
    initialize_weights(model, seed)
    return model


def load_for_pipeline(spec: ModelSpec, seed: int) -> PreTrainedModel:
    """Returns a causal language model of which a rank will keep a part: without weights, on the meta device.

    Pretrained weights are there, whole and on every rank, until the parts are divided. Raises EngineError (ZT023) when
    they are not there.
    """
    if spec.pretrained is not None:
        return _pretrained(spec.pretrained, spec, {"zero_optimization": {"stage": 0}}, seed, "causal_lm")
    config = model_config(spec)
    with torch.device("meta"):
        return MODELS["causal_lm"].from_config(
            config, dtype=torch.float32, attn_implementation=_attention(spec, config)
        )


def model_config(spec: ModelSpec) -> PretrainedConfig:
    """Returns the transformers config of a spec; raises EngineError (ZT023) when pretrained weights are not there."""
    if spec.pretrained is None:
        assert spec.architecture is not None, "a spec without either is refused before"
        return AutoConfig.for_model(spec.architecture, **spec.config)
    with _told(spec.pretrained):
        return AutoConfig.from_pretrained(spec.pretrained, revision=spec.revision or "main", **spec.config)


@contextmanager
def _told(path: str) -> Generator[None]:
    """Turns what transformers says of weights that it cannot find or read into a finding."""
    try:
        yield
    except OSError as broken:
        message = f"`{path}` cannot be loaded: {next(iter(str(broken).splitlines()), 'it cannot be read')}"
        help = "a path is looked for from the directory the command is given in; put the weights back there"
        raise EngineError(error("ZT023", "unusable-pretrained", message, help=help, key="model.pretrained")) from None


def _attention(spec: ModelSpec, config: PretrainedConfig) -> str:
    """Returns the attention implementation; networks without attention take none but transformers' plain one."""
    return spec.attention if hasattr(config, "num_attention_heads") else "eager"


def _pretrained(path: str, spec: ModelSpec, ds_config: Mapping[str, Any], seed: int, head: str) -> PreTrainedModel:
    partitioned = ds_config["zero_optimization"]["stage"] == 3
    # transformers partitions while it loads, for as long as this object lives.
    alive = HfDeepSpeedConfig(dict(ds_config)) if partitioned else None
    config = model_config(spec)
    with _told(path):
        model, found = MODELS[head].from_pretrained(
            path,
            config=config,
            revision=spec.revision or "main",
            dtype=torch.float32,
            attn_implementation=_attention(spec, config),
            output_loading_info=True,
        )
    del alive
    initialize_weights(model, seed, only=found["missing_keys"])
    if partitioned:
        recompute_buffers(model)
    return model


def _partitioning(ds_config: Mapping[str, Any]) -> AbstractContextManager[object]:
    return deepspeed.zero.Init(config_dict_or_path=dict(ds_config))
