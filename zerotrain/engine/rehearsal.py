"""A checkpoint before the first step: what is wrong with the place or the protocol shows at once, not in an hour."""

from __future__ import annotations

import shutil
from dataclasses import replace

import torch.distributed as dist

from zerotrain.checkpoint.average import WeightAverage
from zerotrain.checkpoint.resume import load_checkpoint, refuse_altered
from zerotrain.checkpoint.save import Position, Saver
from zerotrain.diagnostic import Severity
from zerotrain.errors import CheckpointError
from zerotrain.runs.catalogue import LATEST, Checkpoint, read_checkpoint, tag_of


def rehearse_checkpoint(saver: Saver, average: WeightAverage | None, needed: int) -> None:
    """Saves a checkpoint of step 0, reads it back, compares its checksums, loads it, and removes it.

    `needed` are the bytes of a later one, which has the states of the optimizer too. All ranks must call this. Raises
    CheckpointError with what fails.
    """
    _, failure = saver.save(Position(0, 0, 0), is_last=True, needed=needed)
    if failure is not None:
        help = "training has not begun; put this right, or give the run another place"
        raise CheckpointError(replace(failure, severity=Severity.ERROR, help=help))
    checkpoint = read_checkpoint(saver.run.checkpoints / tag_of(0))
    assert isinstance(checkpoint, Checkpoint), "it was completed"
    refuse_altered(checkpoint)
    load_checkpoint(saver.engine, checkpoint)
    if average is not None:
        average.load(checkpoint, None)
    dist.barrier()
    if dist.get_rank() == 0:
        (saver.run.checkpoints / LATEST).unlink()
        shutil.rmtree(checkpoint.path)
