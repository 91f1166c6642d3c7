"""The whole weights out of a DeepSpeed checkpoint, whatever its ZeRO stage."""

from __future__ import annotations

from typing import Any

import torch
from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

from zerotrain.runs.catalogue import Checkpoint

StateDict = dict[str, torch.Tensor]


def whole_weights(checkpoint: Checkpoint) -> StateDict:
    """Returns the weights in host memory: the fp32 master weights at stages 1 to 3, the model's own at stage 0."""
    manifest = checkpoint.manifest
    if manifest.zero_stage == 0:
        # The file holds DeepSpeed's own classes besides tensors; it is one that this run wrote.
        saved = torch.load(checkpoint.path / "mp_rank_00_model_states.pt", map_location="cpu", weights_only=False)
        return saved["module"]
    gathered: Any = get_fp32_state_dict_from_zero_checkpoint(str(checkpoint.path.parent), tag=manifest.tag)
    return dict(gathered)
