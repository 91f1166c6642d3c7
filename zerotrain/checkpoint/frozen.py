"""Weights that are not in checkpoints, frozen ones and a teacher's: known again by a checksum."""

from __future__ import annotations

import hashlib

import deepspeed
import torch
from deepspeed import DeepSpeedEngine
from torch import nn

from zerotrain.diagnostic import error
from zerotrain.errors import CheckpointError
from zerotrain.modeling.unwrap import module_of
from zerotrain.runs.catalogue import Checkpoint

_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def frozen_checksum(model: nn.Module | DeepSpeedEngine) -> str:
    """Returns a checksum of the names and bits of all frozen weights, the same at every ZeRO stage.

    All ranks must call this: what stage 3 has partitioned is gathered, one parameter at a time.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name, parameter in module_of(model).named_parameters():
        if not parameter.requires_grad:
            digest.update(f"{name} {_sum_of_words(parameter)}\n".encode())
    return digest.hexdigest()


def refuse_other_base(checkpoint: Checkpoint, found: str) -> None:
    """Raises CheckpointError when the frozen weights are not those the checkpoint was trained with."""
    expected = checkpoint.manifest.frozen_checksum
    if found != expected:
        tag = checkpoint.manifest.tag
        message = f"`{tag}` was trained beside other frozen weights: their checksum is {expected}, now it is {found}"
        help = "put the weights of `model.pretrained` back as they were"
        raise CheckpointError(error("ZT745", "changed-base", message, help=help, key="model.pretrained"))


def refuse_other_teacher(checkpoint: Checkpoint, found: str | None) -> None:
    """Raises CheckpointError when the teacher's weights are not those the checkpoint was trained with."""
    expected = checkpoint.manifest.teacher_checksum
    if found != expected:
        tag = checkpoint.manifest.tag
        message = (
            f"`{tag}` was trained with another teacher: the checksum of its weights is {expected}, now it is {found}"
        )
        help = "put the weights of the teacher back as they were, or start a new run"
        raise CheckpointError(error("ZT748", "changed-teacher", message, help=help, key="task.teacher.pretrained"))


def _sum_of_words(parameter: nn.Parameter) -> int:
    with deepspeed.zero.GatheredParameters([parameter], enabled=hasattr(parameter, "ds_id")):
        words = parameter.detach().contiguous().view(_WORDS[parameter.element_size()])
        return int(words.sum(dtype=torch.int64).item())
