"""Continuing from a checkpoint, exactly."""

from __future__ import annotations

from collections.abc import Sequence

from deepspeed import DeepSpeedEngine

from zerotrain.checkpoint.frozen import frozen_checksum, refuse_other_base
from zerotrain.checkpoint.save import Position
from zerotrain.diagnostic import error
from zerotrain.errors import CheckpointError
from zerotrain.runs.catalogue import Checkpoint, PassedOver, catalogue
from zerotrain.runs.history import curve
from zerotrain.runs.layout import RunDirectory


def checkpoint_to_resume(run: RunDirectory) -> tuple[Checkpoint | None, Sequence[PassedOver]]:
    """Returns the newest complete checkpoint, or None for a run that has not trained yet, and what was passed over.

    Raises CheckpointError when the run has trained but has no complete checkpoint: it never starts over by itself.
    """
    complete, passed_over = catalogue(run)
    if complete:
        return complete[0], passed_over
    trained = curve(run)
    if trained:
        reasons = "; ".join(f"`{passed.path.name}`: {passed.reason}" for passed in passed_over)
        message = f"the run has made {max(trained)} steps but has no complete checkpoint"
        message += f" ({reasons})" if reasons else ""
        help = "start over with `zerotrain train SPEC --fresh`, and save more often"
        raise CheckpointError(error("ZT705", "nothing-to-resume", message, help=help))
    return None, passed_over


def refuse_other_world_size(checkpoint: Checkpoint, world_size: int) -> None:
    """Raises CheckpointError when the checkpoint was saved by another number of ranks."""
    saved = checkpoint.manifest.world_size
    if saved != world_size:
        message = f"`{checkpoint.manifest.tag}` was saved by {saved} ranks and cannot be continued on {world_size}"
        help = f"continue on {saved} ranks"
        raise CheckpointError(error("ZT706", "other-world-size", message, help=help))


def load_checkpoint(engine: DeepSpeedEngine, checkpoint: Checkpoint) -> Position:
    """Loads weights and optimizer states into the engine and returns how far the run was. All ranks must call this."""
    manifest = checkpoint.manifest
    is_whole = manifest.frozen_checksum is None
    if not is_whole:
        refuse_other_base(checkpoint, frozen_checksum(engine))
    path, _ = engine.load_checkpoint(str(checkpoint.path.parent), tag=manifest.tag, load_module_strict=is_whole)
    if path is None or engine.global_steps != manifest.step:
        # DeepSpeed returns (None, None) instead of failing, and would train from scratch.
        found = "nothing was loaded" if path is None else f"it is of step {engine.global_steps}"
        message = f"`{manifest.tag}` does not hold step {manifest.step}: {found}"
        help = "delete it; `resume` then takes the one before"
        raise CheckpointError(error("ZT711", "damaged-checkpoint", message, help=help))
    return Position(manifest.step, manifest.samples, manifest.tokens)
