"""The whole weights out of a checkpoint with layers of DeepSpeed's own `MoE` (DeepSpeed 0.19.8).

It writes each expert of each layer into a file, and the master weights of those that a rank holds under the numbers
they have there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from zerotrain.checkpoint.experts import Read, expert_files, partitions, pieces_by_group
from zerotrain.checkpoint.tensor_parallel import StateDict

_ROUTER = re.compile(r"^(.+)[.]deepspeed_moe[.]gate[.]wg[.]weight$")
_EXPERT = re.compile(r"^(.+[.]deepspeed_moe[.]experts[.]deepspeed_experts)[.](\d+)[.](.+)$")
_INSIDE = ".deepspeed_moe.experts.deepspeed_experts"


def has_expert_layers(states: Mapping[str, Any]) -> bool:
    """Tells whether a model has layers of DeepSpeed's own, by the states that it saved."""
    return any(_ROUTER.match(name) for name in states["module"] or ())


def expert_layer_weights(directory: Path, stage: int, states: Mapping[str, Any], read: Read) -> StateDict:
    """Returns the weights by the names they have where one rank holds all experts: master weights at stages 1 and 2.

    `states` are those of rank 0, and `read` reads a file.
    """
    weights = dict(states["module"])
    for _, file in expert_files(directory):
        weights |= read(file)
    return weights | (_masters(directory, states, read) if stage else {})


def _masters(directory: Path, states: Mapping[str, Any], read: Read) -> StateDict:
    held = partitions(directory, "single_partition_of_fp32_groups", read)
    names = {name for shapes in states["param_shapes"] for name in shapes}
    local = 1 + max(int(match[2]) for name in names if (match := _EXPERT.match(name)))
    experts = next(weight.shape[0] for name, weight in states["module"].items() if _ROUTER.match(name))
    groups = pieces_by_group(states["param_shapes"], held, experts // local, lambda name: bool(_EXPERT.match(name)))
    return {_numbered(name, place * local): piece for name, place, piece in groups}


def _numbered(name: str, first: int) -> str:
    """Returns the name with the number that an expert has among all of them."""
    return _EXPERT.sub(lambda match: f"{match[1]}.{first + int(match[2])}.{match[3]}", name)


def as_published_layers(weights: Mapping[str, torch.Tensor]) -> StateDict:
    """Returns weights as transformers names those of models with experts: stacked, gate and up in one tensor."""
    published = {name: weight for name, weight in weights.items() if "deepspeed_moe" not in name}
    for name, router in weights.items():
        match = _ROUTER.match(name)
        if match is not None:
            published |= _layer(match[1], router, weights)
    return published


def _layer(name: str, router: torch.Tensor, weights: Mapping[str, torch.Tensor]) -> StateDict:
    def stacked(matrix: str) -> torch.Tensor:
        experts = range(router.shape[0])
        return torch.stack([weights[f"{name}{_INSIDE}.{number}.{matrix}.weight"] for number in experts])

    return {
        f"{name}.gate.weight": router,
        f"{name}.experts.gate_up_proj": torch.cat([stacked("gate_proj"), stacked("up_proj")], dim=1),
        f"{name}.experts.down_proj": stacked("down_proj"),
    }
