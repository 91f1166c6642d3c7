"""What the model of a run says before it is trained: computed once, kept in the run directory, read ever after."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from zerotrain.data.batch import Batch
from zerotrain.diagnostic import error
from zerotrain.errors import CheckpointError, reason_of
from zerotrain.runs.files import sync
from zerotrain.tasks.base import Pass, Start
from zerotrain.tasks.pairs import is_pair

Reference = Mapping[str, torch.Tensor]
"""Numbers [samples, 2] in fp32 for each kind of data."""

_META = "reference.json"


def reference_of(start: Start, score: Callable[[Batch], torch.Tensor]) -> Reference:
    """Returns the scores [rows, 2] of all samples by the weights that training starts from. All ranks must call this.

    Before the first step they are computed and written to `start.folder`; later they are read from it, because the
    weights are no longer those. Raises CheckpointError when they cannot be read (ZT660) or, on all ranks, when they
    cannot be written (ZT661).
    """
    if start.step > 0:
        return _read(start)
    with torch.no_grad():
        found = {name: _scores(each, score, start.device) for name, each in start.data.items()}
    failure = [_write(start, found) if start.is_first else None]
    dist.broadcast_object_list(failure, src=0)
    if failure[0] is not None:
        message = f"cannot write `{start.folder}`: {failure[0]}"
        raise CheckpointError(error("ZT661", "unwritten-reference", message, help="free some space"))
    return found


def _scores(data: Pass, score: Callable[[Batch], torch.Tensor], device: torch.device) -> torch.Tensor:
    """Adds up over the ranks, each of which has scored other samples."""
    scores = torch.zeros(data.samples, 2, dtype=torch.float32, device=device)
    for batch in data.batches():
        real = is_pair(batch)
        scores[batch["sample"][real]] = score(batch)[real].float()
    dist.all_reduce(scores)
    return scores


def _write(start: Start, found: Reference) -> str | None:
    """Writes the scores, all of them or nothing; returns why not, if it cannot."""
    draft = start.folder.with_name(f".{start.folder.name}.partial")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        for name, scores in found.items():
            with (draft / f"{name}.npy").open("wb") as file:
                file.write(_encoded(scores))
                file.flush()
                os.fsync(file.fileno())
        (draft / _META).write_text(json.dumps({"data": start.fingerprint}) + "\n", encoding="utf-8")
        sync(draft)
        shutil.rmtree(start.folder, ignore_errors=True)
        draft.rename(start.folder)
        sync(start.folder.parent)
    except OSError as broken:
        return reason_of(broken)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return None


def _encoded(scores: torch.Tensor) -> bytes:
    """Returns the content of an `.npy` file; numpy itself does not say why it cannot write one."""
    content = BytesIO()
    np.save(content, scores.cpu().numpy())
    return content.getvalue()


def _read(start: Start) -> Reference:
    try:
        written = json.loads((start.folder / _META).read_text(encoding="utf-8"))
        if written["data"] != start.fingerprint:
            raise _lost(start.folder, "it is of other data")
        return {name: _array(start.folder / f"{name}.npy", each).to(start.device) for name, each in start.data.items()}
    except (OSError, ValueError, KeyError, TypeError) as broken:
        raise _lost(start.folder, reason_of(broken)) from None


def _array(path: Path, data: Pass) -> torch.Tensor:
    found = np.load(path)
    if found.shape != (data.samples, 2):
        raise ValueError(f"`{path.name}` has the shape {found.shape}, not {(data.samples, 2)}")
    return torch.from_numpy(found)


def _lost(folder: Path, reason: str) -> CheckpointError:
    message = f"the reference in `{folder}` cannot be used: {reason}"
    help = "restore the directory, or start a new run: trained weights cannot tell what untrained ones did"
    return CheckpointError(error("ZT660", "lost-reference", message, help=help))
