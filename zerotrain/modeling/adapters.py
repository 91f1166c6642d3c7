"""Low-rank adapters beside frozen weights.

The layers of the model itself are adapted in place, so that whoever calls or looks at the model sees the same class,
the same arguments and the same config as without an adapter.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import deepspeed
import torch
from peft import LoraConfig, TaskType, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import PreTrainedModel
from transformers.integrations.deepspeed import HfDeepSpeedConfig
from transformers.pytorch_utils import Conv1D

from zerotrain.arch.describe import CLASSIFICATION_HEADS
from zerotrain.compile.adapters import (
    ADAPTER,
    adaptable,
    saved_modules,
    target_layers,
    target_problem,
    unmatched_modules,
)
from zerotrain.errors import EngineError
from zerotrain.modeling.initialize import derived_seed
from zerotrain.spec.model import ModelSpec

_TASK_TYPES: Mapping[str, TaskType] = {
    "causal_lm": TaskType.CAUSAL_LM,
    "sequence_classification": TaskType.SEQ_CLS,
}
"""What peft calls a head; it has no name for the others."""


def add_adapter(model: PreTrainedModel, spec: ModelSpec, head: str, seed: int, ds_config: Mapping[str, Any]) -> None:
    """Freezes the model and puts a trainable adapter into it, as far as the spec asks for one.

    The adapter's initial weights are a function of the seed, their names and the frozen weights as they are trained,
    whatever the ZeRO stage. All ranks must call this. Raises EngineError when a name of the spec matches nothing.
    """
    if spec.adapter is None:
        return
    config = adapter_config(model, spec, head)
    # peft would keep a second copy of a module that is trained whole; it is told of them only in what it reads later.
    whole, config.modules_to_save = config.modules_to_save or (), None
    model.requires_grad_(False)
    alive = HfDeepSpeedConfig(dict(ds_config)) if ds_config["zero_optimization"]["stage"] == 3 else None
    with warnings.catch_warnings():
        # peft warns of unreachable hubs and of adapters that need care when merged; both are seen to in the export.
        warnings.simplefilter("ignore")
        inject_adapter_in_model(config, model, ADAPTER)
    del alive
    config.modules_to_save = list(whole) or None
    for name in whole:
        model.get_submodule(name).requires_grad_(True)
    _initialize(model, seed, _training_dtype(ds_config))
    _let_partitions_be_fetched(model)
    model.register_state_dict_post_hook(_drop_frozen)


def adapter_config(model: PreTrainedModel, spec: ModelSpec, head: str) -> LoraConfig:
    """Returns what peft is told of an adapter; its layers are named one by one.

    Raises EngineError when a name of the spec matches nothing.
    """
    adapter = spec.adapter
    assert adapter is not None, "only a model with an adapter has a config of one"
    linear, modules = linear_layers(model), [name for name, _ in model.named_modules() if name]
    heads, output = head_modules(model, head), output_of(model)
    problems = unmatched_modules(adapter, linear, modules) or target_problem(adapter, linear, modules, heads, output)
    if problems:
        raise EngineError(*problems)
    saved = saved_modules(adapter, modules, heads)
    targets = target_layers(adapter, linear, saved, output)
    return LoraConfig(
        task_type=_TASK_TYPES.get(head),
        base_model_name_or_path=spec.pretrained,
        revision=spec.revision,
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        use_dora=adapter.type == "dora",
        target_modules=targets,
        modules_to_save=saved or None,
        fan_in_fan_out=any(isinstance(model.get_submodule(name), Conv1D) for name in targets),
    )


def linear_layers(model: PreTrainedModel) -> list[str]:
    """Returns the names of the layers that can have an adapter: linear ones whose weight is theirs alone."""
    tied = set(model.all_tied_weights_keys)
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D)]
    names = (name for name, _ in model.named_parameters())
    return adaptable((name for name in layers if f"{name}.weight" not in tied), names)


def head_modules(model: PreTrainedModel, head: str) -> list[str]:
    """Returns the names of what makes a classifier of a model; nothing for other heads."""
    if head not in CLASSIFICATION_HEADS:
        return []
    base = model.base_model_prefix
    return [name for name, child in model.named_children() if name != base and any(True for _ in child.parameters())]


def output_of(model: PreTrainedModel) -> str | None:
    """Returns the name of the layer that gives the logits of tokens, if there is one."""
    output = model.get_output_embeddings()
    return next((name for name, module in model.named_modules() if module is output), None) if output else None


def adapted_layers(model: nn.Module) -> dict[str, Any]:
    """Returns the layers that have an adapter, by name; they are peft's."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


@contextmanager
def without_adapter(model: nn.Module) -> Generator[None]:
    """Lets the model compute as it did before it got its adapter.

    Modules that are trained whole beside the adapter stay as they are.
    """
    layers = adapted_layers(model).values()
    # `enable_adapters` would also tell the adapter that it is frozen, which the engine must not see.
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False


def _initialize(model: nn.Module, seed: int, dtype: torch.dtype) -> None:
    """Gives A the values peft gives it, each matrix under a seed of its own; B is zero.

    DoRA's magnitudes are the lengths of the weights in the dtype they are trained in: at ZeRO stage 3 there are no
    others.
    """
    for name, layer in adapted_layers(model).items():
        down, up = layer.lora_A[ADAPTER], layer.lora_B[ADAPTER]
        torch.manual_seed(derived_seed(seed, f"{name}.lora_A.{ADAPTER}"))
        bound = layer.in_features**-0.5
        down.weight.data = torch.empty(down.weight.shape).uniform_(-bound, bound).to(down.weight)
        nn.init.zeros_(up.weight)
        if ADAPTER in layer.lora_magnitude_vector:
            magnitude = layer.lora_magnitude_vector[ADAPTER].weight
            magnitude.data = _lengths(layer, dtype).to(magnitude)


def _lengths(layer: Any, dtype: torch.dtype) -> torch.Tensor:
    """Returns the length of the weights of each output."""
    base = layer.get_base_layer()
    with _gathered(base), torch.no_grad():
        weight = base.weight.detach().to(dtype).float()
        return torch.linalg.norm(weight.T if isinstance(base, Conv1D) else weight, dim=1)


def _gathered(module: nn.Module) -> AbstractContextManager[object]:
    parameters = [parameter for parameter in module.parameters() if hasattr(parameter, "ds_id")]
    return deepspeed.zero.GatheredParameters(parameters) if parameters else nullcontext()


def _let_partitions_be_fetched(model: nn.Module) -> None:
    """Tells ZeRO stage 3 that DoRA reads the weight of the layer it adapts, which is another module's."""
    for layer in adapted_layers(model).values():
        weight = layer.get_base_layer().weight
        if ADAPTER in layer.lora_magnitude_vector and hasattr(weight, "ds_id"):
            deepspeed.zero.register_external_parameter(layer.lora_magnitude_vector[ADAPTER], weight)


def _drop_frozen(model: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    """Leaves frozen weights out of what is saved.

    `exclude_frozen_parameters` alone keeps those that have a second name, such as a tied output matrix
    (`module_state_dict` in runtime/engine.py, DeepSpeed 0.19.8).
    """
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if not parameter.requires_grad:
            state.pop(f"{prefix}{name}", None)


def _training_dtype(ds_config: Mapping[str, Any]) -> torch.dtype:
    for section, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
        if ds_config.get(section, {}).get("enabled"):
            return dtype
    return torch.float32
