"""Continuing from a checkpoint, exactly."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from deepspeed import DeepSpeedEngine

from zerotrain.checkpoint.elastic import load_pieces
from zerotrain.checkpoint.files import reading_safely
from zerotrain.checkpoint.frozen import frozen_checksum, refuse_other_base
from zerotrain.checkpoint.masters import optimizer_states
from zerotrain.checkpoint.pieces import Pieces
from zerotrain.checkpoint.save import Position
from zerotrain.diagnostic import error
from zerotrain.errors import CheckpointError
from zerotrain.runs.catalogue import (
    Checkpoint,
    PassedOver,
    altered_files,
    catalogue,
    mark_damaged,
    reading,
    was_ever_saved,
)
from zerotrain.runs.history import curve
from zerotrain.runs.layout import RunDirectory
from zerotrain.spec.run import RunSpec
from zerotrain.spec.suggest import listed


def checkpoint_to_resume(
    run: RunDirectory, identity: str, *, verify: bool
) -> tuple[Checkpoint | None, Sequence[PassedOver]]:
    """Returns the newest good checkpoint, or None for a run that has not trained yet, and what was passed over.

    A checkpoint of a run with another `identity` is none of this one's. To `verify` its checksums all files are read,
    by all ranks together; all must call this. Raises CheckpointError when the run has saved checkpoints, but none is
    good: it never starts over by itself.
    """
    complete, passed_over = catalogue(run)
    for checkpoint in complete:
        reason = _foreign(checkpoint, identity) or (_altered(checkpoint) if verify else None)
        if reason is None:
            return checkpoint, passed_over
        passed_over.append(PassedOver(checkpoint.path, reason))
    trained = curve(run)
    if trained and was_ever_saved(run):
        reasons = "; ".join(f"`{passed.path.name}`: {passed.reason}" for passed in passed_over)
        message = f"the run has made {max(trained)} steps but has no complete checkpoint"
        message += f" ({reasons})" if reasons else ""
        help = "start over with `zerotrain train SPEC --fresh`, and save more often"
        raise CheckpointError(error("ZT705", "nothing-to-resume", message, help=help))
    return None, passed_over


def refuse_altered(checkpoint: Checkpoint) -> None:
    """Raises CheckpointError when a file is not what was saved; all ranks must call this."""
    reason = _altered(checkpoint)
    if reason is not None:
        message = f"`{checkpoint.manifest.tag}` was read back, and {reason}"
        help = "the disk or the file system does not keep what is written to it; use another"
        raise CheckpointError(error("ZT711", "damaged-checkpoint", message, help=help))


def _foreign(checkpoint: Checkpoint, identity: str) -> str | None:
    found = checkpoint.manifest.identity_hash
    return "it belongs to another run" if found not in (None, identity) else None


def _altered(checkpoint: Checkpoint) -> str | None:
    """Returns which files are not what was saved; each rank reads some of them."""
    found: list[list[str]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(found, altered_files(checkpoint, dist.get_rank(), dist.get_world_size()))
    names = sorted(name for own in found for name in own)
    return f"{listed(names, 'and')} {'is' if len(names) == 1 else 'are'} not what was saved" if names else None


def is_shared_otherwise(checkpoint: Checkpoint, spec: RunSpec, world_size: int) -> bool:
    """Tells whether other ranks saved a checkpoint than those of a spec, or shared the model in another way."""
    manifest = checkpoint.manifest
    before = (manifest.world_size, manifest.zero_stage, manifest.parallel)
    return before != (world_size, spec.zero.stage, spec.parallel.model_dump())


def refuse_unshareable(checkpoint: Checkpoint, spec: RunSpec) -> None:
    """Raises CheckpointError when only the ranks that saved a checkpoint could continue from it."""
    manifest = checkpoint.manifest
    reason = next((why for is_so, why in _UNSHAREABLE if is_so(checkpoint, spec)), None)
    if reason is not None:
        axes = " ".join(f"parallel.{axis}={degree}" for axis, degree in manifest.parallel.items() if degree > 1)
        same = f"--world-size {manifest.world_size} zero.stage={manifest.zero_stage} {axes}".strip()
        message = f"`{manifest.tag}` can only be continued by ranks that share it as it was saved: {reason}"
        help = f"continue with `{same}`, or start a new run from its export"
        raise CheckpointError(error("ZT719", "unshareable-checkpoint", message, help=help))


_UNSHAREABLE: Sequence[tuple[Callable[[Checkpoint, RunSpec], bool], str]] = (
    (lambda checkpoint, _: not Pieces(checkpoint.path).is_there, "it does not say what its files hold"),
    (
        lambda checkpoint, spec: spec.parallel.ep > 1 or checkpoint.manifest.parallel["ep"] > 1,
        "its experts are spread over ranks",
    ),
    (lambda _, spec: spec.moe is not None, "its experts are layers of DeepSpeed's own"),
    (
        lambda _, spec: spec.optimizer.type in ("muon", "adafactor"),
        "the states of its optimizer do not lie beside the weights element by element",
    ),
)


def load_checkpoint(engine: DeepSpeedEngine, checkpoint: Checkpoint, shard: int | None = None) -> Position:
    """Loads weights and optimizer states into the engine and returns how far the run was. All ranks must call this.

    With a `shard`, its tensor-parallel rank, this rank takes its part from ranks that shared the model otherwise.
    """
    manifest = checkpoint.manifest
    is_whole = manifest.frozen_checksum is None
    if not is_whole:
        refuse_other_base(checkpoint, frozen_checksum(engine))
    with reading(checkpoint), reading_safely(engine), _telling_damage(checkpoint):
        if shard is not None:
            load_pieces(engine, checkpoint, shard)
            _refuse_lost_moments(engine, checkpoint)
            return Position(manifest.step, manifest.samples, manifest.tokens)
        path, _ = engine.load_checkpoint(str(checkpoint.path.parent), tag=manifest.tag, load_module_strict=is_whole)
    _refuse_lost_moments(engine, checkpoint)
    if path is None or engine.global_steps != manifest.step:
        # DeepSpeed returns (None, None) instead of failing, and would train from scratch.
        found = "nothing was loaded" if path is None else f"it is of step {engine.global_steps}"
        message = f"`{manifest.tag}` does not hold step {manifest.step}: {found}"
        help = "delete it; `resume` then takes the one before"
        raise CheckpointError(error("ZT711", "damaged-checkpoint", message, help=help))
    return Position(manifest.step, manifest.samples, manifest.tokens)


def _refuse_lost_moments(engine: DeepSpeedEngine, checkpoint: Checkpoint) -> None:
    """Raises CheckpointError when all that the optimizer remembers is zero, as if no step had been made."""
    moments = [value for state in optimizer_states(engine) for value in state.values() if _is_moment(value)]
    found: list[tuple[bool, bool]] = [(False, False)] * dist.get_world_size()
    dist.all_gather_object(found, (bool(moments), any(bool(moment.any()) for moment in moments)))
    has_moments, has_values = (any(said) for said in zip(*found, strict=True))
    if has_moments and not has_values and checkpoint.manifest.step and not engine.skipped_steps:
        message = f"`{checkpoint.manifest.tag}` was loaded, but all moments of the optimizer are zero"
        help = "delete it; `resume` then takes the one before"
        raise CheckpointError(error("ZT711", "damaged-checkpoint", message, help=help))


def _is_moment(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() > 0 and value.numel() > 0


@contextmanager
def _telling_damage(checkpoint: Checkpoint) -> Generator[None]:
    """Looks for altered files when a checkpoint cannot be loaded; if there are, raises CheckpointError.

    Such a checkpoint is passed over from then on.
    """
    try:
        yield
    except Exception:
        altered = altered_files(checkpoint)
        if not altered:
            raise
        reason = f"{listed(altered, 'and')} cannot be read, and is not what was saved"
        mark_damaged(checkpoint, reason)
        message = f"`{checkpoint.manifest.tag}` cannot be loaded: {reason}"
        help = "`resume` again: it is passed over from now on"
        raise CheckpointError(error("ZT711", "damaged-checkpoint", message, help=help)) from None
