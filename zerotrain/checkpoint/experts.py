"""The whole weights out of a checkpoint of ranks that each held some of the experts (AutoEP, DeepSpeed 0.19.8).

DeepSpeed's own `zero_to_fp32` knows nothing of experts: it takes those of rank 0 for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch

from zerotrain.checkpoint.tensor_parallel import StateDict

Read = Callable[[Path], dict[str, Any]]

_EXPERT = re.compile(r"^(.+[.]experts)[.](w[123])$")
_EXPERT_FILE = re.compile(r"^layer_\d+_expert_(\d+)_mp_rank_00_model_states\.pt$")
_OPTIMIZER_FILE = re.compile(r"^(?:bf16_)?zero_pp_rank_(\d+)_mp_rank_00_optim_states\.pt$")


def expert_ranks(states: Mapping[str, Any]) -> int:
    """Returns over how many ranks the experts of a layer were spread, by the states of a model that DeepSpeed saved."""
    layers = states.get("ds_autoep_layers")
    return layers[0]["ep_size"] if layers else 1


def gathered_weights(directory: Path, stage: int, states: Mapping[str, Any], read: Read) -> StateDict:
    """Returns the weights by the names that transformers gives them: the master weights at stages 1 to 3.

    `states` are those of rank 0, and `read` reads a file.
    """
    if stage == 0:
        weights = dict(states["module"]) | _stacked(directory, read)
    else:
        kept = states["buffer_names"] if stage == 3 else states["module"]
        weights = {name: states["module"][name] for name in kept} | _masters(directory, stage, states, read)
    return as_published(weights)


def as_published(weights: StateDict) -> StateDict:
    """Returns weights of AutoEP's layers as transformers has them: gate and up in one tensor, the router as `gate`."""
    published: StateDict = {}
    for name, weight in weights.items():
        match = _EXPERT.match(name)
        if match is None:
            # The router stands under a second name where transformers records its logits.
            if ".mlp.gate.gate." not in name:
                published[re.sub(r"[.]router(?:[.]gate)?[.]", ".gate.", name)] = weight
        elif match[2] == "w1":
            published[f"{match[1]}.gate_up_proj"] = torch.cat([weight, weights[f"{match[1]}.w3"]], dim=1)
        elif match[2] == "w2":
            published[f"{match[1]}.down_proj"] = weight
    return published


def _stacked(directory: Path, read: Read) -> StateDict:
    """Returns the experts of each layer in one tensor; at stage 0 there is a file for each."""
    experts: dict[str, list[torch.Tensor]] = {}
    for number, file in expert_files(directory):
        for name, weight in read(file).items():
            experts.setdefault(name.removesuffix(f".{number}"), []).append(weight)
    return {name: torch.stack(weights) for name, weights in experts.items()}


def _masters(directory: Path, stage: int, states: Mapping[str, Any], read: Read) -> StateDict:
    key = "fp32_flat_groups" if stage == 3 else "single_partition_of_fp32_groups"
    held, ep = partitions(directory, key, read), expert_ranks(states)
    if stage == 3:
        divided = _by_parameter(states["param_shapes"], held, ep)
    else:
        groups = pieces_by_group(states["param_shapes"], held, ep, lambda name: bool(_EXPERT.match(name)))
        divided = ((name, piece) for name, _, piece in groups)
    pieces: dict[str, list[torch.Tensor]] = {}
    for name, piece in divided:
        pieces.setdefault(name, []).append(piece)
    return {name: torch.cat(parts) for name, parts in pieces.items()}


def expert_files(directory: Path) -> list[tuple[int, Path]]:
    """Returns the files of a checkpoint that hold one expert of one layer each, with the number of the expert."""
    return sorted((int(match[1]), file) for file in directory.iterdir() if (match := _EXPERT_FILE.match(file.name)))


def partitions(directory: Path, key: str, read: Read) -> list[Any]:
    """Returns what stands under a key of the optimizer's states, by rank."""
    files = [(int(match[1]), file) for file in directory.iterdir() if (match := _OPTIMIZER_FILE.match(file.name))]
    return [read(file)["optimizer_state_dict"][key] for _, file in sorted(files)]


def pieces_by_group(
    groups: Sequence[Mapping[str, Sequence[int]]], held: Sequence[Any], ep: int, is_expert: Callable[[str], bool]
) -> Iterator[tuple[str, int, torch.Tensor]]:
    """Yields each parameter of each place at stages 1 and 2, where the ranks divide a group laid end to end.

    Experts are others in each of `ep` places, and all else is at place 0.
    """
    for index, shapes in enumerate(groups):
        for place, owners in enumerate(_owners(is_expert(next(iter(shapes))), len(held), ep)):
            flat, start = torch.cat([held[rank][index] for rank in owners]), 0
            for name, shape in shapes.items():
                yield name, place, flat[start : start + prod(shape)].view(*shape)
                start += prod(shape)


def _owners(are_experts: bool, world: int, ep: int) -> list[range]:
    """Returns the ranks that share each piece of a parameter: those with the same experts, or all."""
    return [range(place, world, ep) for place in range(ep)] if are_experts else [range(world)]


def _by_parameter(
    groups: Sequence[Mapping[str, Sequence[int]]], held: Sequence[Any], ep: int
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields the pieces of each parameter at stage 3: the ranks divide every single one."""
    flats, start = [torch.cat(list(partitions)) for partitions in held], 0
    for name, shape in ((name, shape) for shapes in groups for name, shape in shapes.items()):
        length = 0
        for owners in _owners(bool(_EXPERT.match(name)), len(held), ep):
            length = -(-prod(shape) // len(owners))
            whole = torch.cat([flats[rank][start : start + length] for rank in owners])
            yield name, whole[: prod(shape)].view(*shape)
        start += length
