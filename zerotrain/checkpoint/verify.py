"""Reading an export back, to see that it is the model, whole."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion

_DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.int64: "I64"}


@dataclass(frozen=True)
class Entry:
    """A tensor as the header of a safetensors file describes it."""

    shape: tuple[int, ...]
    dtype: str
    bytes: int


def expected_entries(model: PreTrainedModel, dtype: torch.dtype) -> dict[str, Entry]:
    """Returns what the files of an export must hold; `model` is on the meta device.

    Names are those of published weights, into which transformers converts those of its modules.
    """
    own = {name: tensor for name, tensor in model.state_dict().items() if name not in model.all_tied_weights_keys}
    published = revert_weight_conversion(model, own)
    return {name: _entry(tensor, dtype) for name, tensor in published.items()}


def _entry(tensor: torch.Tensor, dtype: torch.dtype) -> Entry:
    stored = dtype if tensor.is_floating_point() else tensor.dtype
    return Entry(tuple(tensor.shape), _DTYPES[stored], tensor.numel() * stored.itemsize)


def entries_of(directory: Path) -> dict[str, Entry]:
    """Returns what the safetensors files in a directory hold, from their headers.

    Raises ValueError when a file is shorter or longer than its header says.
    """
    return {name: entry for file in sorted(directory.glob("*.safetensors")) for name, entry in _header(file)}


def _header(path: Path) -> Iterator[tuple[str, Entry]]:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    ends = [description["data_offsets"][1] for description in header.values()]
    expected = 8 + length + max(ends, default=0)
    if (found := path.stat().st_size) != expected:
        raise ValueError(f"`{path.name}` has {found} bytes, its header says {expected}")
    for name, description in header.items():
        start, end = description["data_offsets"]
        yield name, Entry(tuple(description["shape"]), description["dtype"], end - start)


def export_problems(directory: Path, expected: Mapping[str, Entry]) -> list[str]:
    """Returns what is wrong with an export, in words; nothing when it is the model."""
    try:
        found = entries_of(directory)
    except (OSError, ValueError, KeyError, struct.error) as broken:
        return [f"the files cannot be read back: {broken}"]
    missing = [f"`{name}` is missing" for name in expected if name not in found]
    extra = [f"`{name}` does not belong to the model" for name in found if name not in expected]
    different = [
        f"`{name}` is {found[name].dtype} {list(found[name].shape)} of {found[name].bytes} bytes, "
        f"expected {entry.dtype} {list(entry.shape)} of {entry.bytes} bytes"
        for name, entry in expected.items()
        if name in found and found[name] != entry
    ]
    return missing + extra + different
