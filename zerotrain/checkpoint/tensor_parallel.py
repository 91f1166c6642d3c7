"""Whole weights from those of the ranks of a tensor-parallel group."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from zerotrain.checkpoint.files import read_states

StateDict = dict[str, torch.Tensor]

_RANK = re.compile(r"mp_rank_(\d+)_")
_RANKS = re.compile(r"zero_pp_rank_(\d+)_mp_rank_(\d+)_(model|optim)_states\.pt$")


def tensor_parallel_ranks(directory: Path) -> list[int]:
    """Returns the tensor-parallel ranks that have files in a checkpoint of DeepSpeed's."""
    return sorted({int(match[1]) for file in directory.iterdir() if (match := _RANK.search(file.name))})


def as_only_rank(directory: Path, rank: int, folder: Path) -> Path:
    """Returns a directory with the files of one tensor-parallel rank, named as if there were no other.

    DeepSpeed's `zero_to_fp32` reads no others (`get_model_state_file` in utils/zero_to_fp32.py, DeepSpeed 0.19.8).
    """
    view = folder / f"rank-{rank}"
    view.mkdir()
    for file in directory.iterdir():
        match = _RANK.search(file.name)
        if match is not None and int(match[1]) == rank:
            (view / _RANK.sub("mp_rank_00_", file.name)).symlink_to(file.absolute())
    return view


def joined(parts: Sequence[StateDict], plan: Mapping[str, Any]) -> StateDict:
    """Returns whole weights from the parts of the ranks, in the ranks' order.

    `plan` is what AutoTP writes beside them (`collect_autotp_universal_checkpoint_info` in module_inject/layers.py):
    what is not divided, and what is divided by its inputs; the rest is divided by its outputs.
    """
    rows = plan["parameter_with_row_parallelism_patterns"]
    return {
        name: first if is_whole(name, plan) else torch.cat([part[name] for part in parts], int(_is_among(name, rows)))
        for name, first in parts[0].items()
    }


def is_whole(name: str, plan: Mapping[str, Any]) -> bool:
    """Tells whether every rank has all of a parameter."""
    return _is_among(name, plan["tp_replicated_parameter_patterns"])


def stage_3_parts(directory: Path, plan: Mapping[str, Any]) -> list[StateDict]:
    """Returns what each tensor-parallel rank would have without ZeRO: the master weights of stage 3.

    What is divided by tensor parallelism is partitioned over the data-parallel ranks. What is not was partitioned by
    `zero.Init`, before there were tensor-parallel groups, over all ranks.
    """
    states = {(int(m[1]), int(m[2])): read_states(file) for file, m in _ranked(directory, "optim")}
    order, tp = sorted(states), 1 + max(rank for _, rank in states)
    shapes = read_states(next(file for file, _ in _ranked(directory, "model")))["param_shapes"]
    parts: list[StateDict] = [{} for _ in range(tp)]
    for group, names in enumerate(shapes):
        flats = {ranks: states[ranks]["optimizer_state_dict"]["fp32_flat_groups"][group] for ranks in order}
        offset = 0
        for name, shape in names.items():
            holders = [order] * tp if is_whole(name, plan) else [[r for r in order if r[1] == own] for own in range(tp)]
            length = -(-shape.numel() // len(holders[0]))
            for part, ranks in zip(parts, holders, strict=True):
                pieces = [flats[rank][offset : offset + length] for rank in ranks]
                part[name] = torch.cat(pieces)[: shape.numel()].view(shape)
            offset += length
    return parts


def _ranked(directory: Path, kind: str) -> list[tuple[Path, re.Match[str]]]:
    found = ((file, _RANKS.search(file.name)) for file in sorted(directory.iterdir()))
    return [(file, match) for file, match in found if match is not None and match[3] == kind]


def _is_among(name: str, patterns: Iterable[str]) -> bool:
    return any(re.match(pattern, name) for pattern in patterns)
