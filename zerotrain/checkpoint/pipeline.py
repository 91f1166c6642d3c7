"""Whole weights from the checkpoint of a pipeline, which has a file for each of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from zerotrain.modeling.pipeline import name_in_model

_LAYERS = "layer_*-model_states.pt"
_OF_RANK = "layer_*-model_{rank:02d}-model_states.pt"


def is_pipeline(directory: Path) -> bool:
    """Tells whether a checkpoint of DeepSpeed's is that of a pipeline."""
    return any(directory.glob(_LAYERS))


def layer_weights(directory: Path, tensor_rank: int) -> dict[str, torch.Tensor]:
    """Returns the weights as the layers of a tensor-parallel rank have them, under their names in the whole model."""
    weights: dict[str, torch.Tensor] = {}
    for file in sorted(directory.glob(_OF_RANK.format(rank=tensor_rank))):
        weights |= in_model(torch.load(file, map_location="cpu", mmap=True, weights_only=True))
    return weights


def in_model(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the same weights under their names in the whole model."""
    return {name_in_model(name): weight for name, weight in weights.items()}
