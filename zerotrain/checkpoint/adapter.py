"""The trained adapter of a run: put back beside the weights it was trained on, merged into them, or written alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from zerotrain.checkpoint.frozen import frozen_checksum, refuse_other_base
from zerotrain.checkpoint.weights import StateDict
from zerotrain.compile.adapters import ADAPTER
from zerotrain.compile.model import HEADS
from zerotrain.diagnostic import error
from zerotrain.errors import CheckpointError
from zerotrain.modeling.adapters import adapted_layers, add_adapter
from zerotrain.modeling.groups import freeze
from zerotrain.modeling.load import load_model
from zerotrain.runs.catalogue import Checkpoint
from zerotrain.spec.run import RunSpec

FILE = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_TRAINED = {"bf16": torch.bfloat16, "fp16": torch.float16}


def trained_model(spec: RunSpec, checkpoint: Checkpoint, trained: StateDict) -> PreTrainedModel:
    """Returns the model of a run with its trained adapter, in fp32 and host memory.

    Frozen weights are rounded to the dtype the adapter was trained beside. Raises CheckpointError when they are not the
    ones it was trained beside, or the checkpoint is of another adapter.
    """
    dtype, head = spec.precision.dtype, HEADS[spec.task.type]
    config = {"zero_optimization": {"stage": 0}} | {name: {"enabled": name == dtype} for name in _TRAINED}
    disable_progress_bar()
    model = load_model(spec.model, config, spec.seed, head)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(_TRAINED.get(dtype, torch.float32))
    add_adapter(model, spec.model, head, spec.seed, config)
    freeze(model, spec.model.freeze)
    refuse_other_base(checkpoint, frozen_checksum(model))
    for parameter in model.parameters():
        parameter.data = parameter.data.float()
    _put_back(model, trained)
    return model


def merged_weights(model: PreTrainedModel) -> StateDict:
    """Merges the adapter of a model into its weights and returns them under the names of the model without one."""
    for name, layer in adapted_layers(model).items():
        layer.merge()
        model.set_submodule(name, layer.get_base_layer())
    # What is frozen is left out of the states of an adapted model.
    return model.requires_grad_(True).state_dict()


def adapter_weights(model: PreTrainedModel, config: LoraConfig) -> StateDict:
    """Returns the adapter, and the modules trained whole beside it, under the names that peft reads."""
    layers, saved = tuple(f"{name}." for name in adapted_layers(model)), tuple(config.modules_to_save or ())
    whole = tuple(f"{name}." for name in saved)
    return {
        _name_in_file(name): parameter.detach()
        for name, parameter in model.named_parameters()
        if (name.startswith(layers) and ".base_layer." not in name) or name.startswith(whole)
    }


def write_adapter(directory: Path, spec: RunSpec, model: PreTrainedModel, dtype: torch.dtype) -> int:
    """Writes adapter and config as peft reads them, reads them back, and returns the number of parameters.

    Raises CheckpointError when what was read back differs, or peft could not use it.
    """
    base = spec.model.pretrained
    assert base is not None, "an adapter of a model from scratch is refused before"
    config = _described(spec, model)
    _refuse_tied(model, config.modules_to_save or ())
    weights = {name: weight.to(dtype).contiguous() for name, weight in adapter_weights(model, config).items()}
    directory.mkdir(parents=True)
    config.save_pretrained(str(directory))
    save_file(weights, directory / FILE, metadata={"format": "pt"})
    refuse_problems([*not_finite(weights), *_differences(weights, load_file(directory / FILE))])
    return sum(weight.numel() for weight in weights.values())


def not_finite(weights: Mapping[str, torch.Tensor]) -> list[str]:
    """Returns in words which weights are not all numbers."""
    return [f"`{name}` is not finite" for name, weight in weights.items() if not torch.isfinite(weight).all()]


def refuse_problems(problems: list[str]) -> None:
    """Raises CheckpointError when there are problems with what was written."""
    if problems:
        message = f"what was written is not the model: {'; '.join(problems[:3])}"
        message += f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        help = "nothing was exported; the checkpoint may be of another model, or the disk full"
        raise CheckpointError(error("ZT708", "wrong-export", message, help=help))


def _put_back(model: PreTrainedModel, weights: StateDict) -> None:
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    result = model.load_state_dict(weights, strict=False)
    missing = [f"`{name}` is missing" for name in trained.intersection(result.missing_keys)]
    refuse_problems(sorted(missing) + [f"`{name}` does not belong to it" for name in result.unexpected_keys])


def _described(spec: RunSpec, model: PreTrainedModel) -> LoraConfig:
    """Returns the adapter's config with the place of the weights it belongs to, and how to load them."""
    base = Path(str(spec.model.pretrained))
    config: Any = model.peft_config[ADAPTER]
    config.base_model_name_or_path = str(base.absolute()) if base.is_dir() else str(spec.model.pretrained)
    config.inference_mode = True
    if config.task_type is None:
        kind = type(model)
        config.auto_mapping = {"base_model_class": kind.__name__, "parent_library": kind.__module__}
    return config


def _name_in_file(name: str) -> str:
    inside = name.replace(f".lora_magnitude_vector.{ADAPTER}.weight", ".lora_magnitude_vector")
    return _PREFIX + inside.replace(f".{ADAPTER}.", ".")


def _refuse_tied(model: PreTrainedModel, saved: list[str] | tuple[str, ...]) -> None:
    """Raises CheckpointError for a module with a second name, which peft would load under one name only."""
    shared = {name for pair in model.all_tied_weights_keys.items() for name in pair}
    for module in saved:
        if any(name.startswith(f"{module}.") for name in shared):
            message = f"`{module}` shares its weights with another module, and peft would load it without the other"
            key = "model.adapter.modules_to_save"
            raise CheckpointError(error("ZT746", "tied-module", message, help="export it `merged`", key=key))


def _differences(written: StateDict, read: StateDict) -> list[str]:
    names = [f"`{name}` is missing or extra" for name in written.keys() ^ read.keys()]
    return sorted(names) + [
        f"`{name}` reads back differently"
        for name in written.keys() & read.keys()
        if not torch.equal(written[name], read[name])
    ]
