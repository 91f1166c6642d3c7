"""Saving a checkpoint: whole or not at all.

Everything is written into `<tag>.partial`; then comes the manifest, then one rename, then `latest`, then the removal of
old checkpoints. Whatever interrupts this leaves the checkpoints that were complete before.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch.distributed as dist
from deepspeed import DeepSpeedEngine

from zerotrain.checkpoint.average import WeightAverage
from zerotrain.checkpoint.guard import guarded
from zerotrain.checkpoint.pieces import save_layout
from zerotrain.diagnostic import Diagnostic, warning
from zerotrain.errors import reason_of
from zerotrain.runs.catalogue import MANIFEST, PARTIAL, Checkpoint, Manifest, catalogue, tag_of
from zerotrain.runs.files import sync, write_json, write_text
from zerotrain.runs.layout import RunDirectory
from zerotrain.units import format_bytes


@dataclass(frozen=True)
class Position:
    """How far the run is that is saved."""

    step: int
    samples: int
    tokens: int


@dataclass(frozen=True)
class Retention:
    """Which checkpoints stay when a new one is complete."""

    keep_last: int
    """Newest ones that stay."""
    best: Callable[[Sequence[Checkpoint]], Checkpoint | None]
    """Returns the one that stays however old it is, if there is one."""

    def doomed(self, complete: Sequence[Checkpoint]) -> list[Checkpoint]:
        """Returns what is to be removed of the complete checkpoints, which are given newest first."""
        best = self.best(complete)
        return [checkpoint for checkpoint in complete[self.keep_last :] if checkpoint != best]


@dataclass(frozen=True)
class Saver:
    """Saves checkpoints of one run."""

    run: RunDirectory
    engine: DeepSpeedEngine
    retention: Retention
    dtype: str
    convergence_hash: str
    average: WeightAverage | None = None
    """Saved in the checkpoint too."""
    frozen_checksum: str | None = None
    """Checksum of the frozen weights when they are not saved; None saves all weights."""
    teacher_checksum: str | None = None
    """Checksum of the weights of the teacher, which are never saved; None without a teacher."""
    parallel: Mapping[str, int] = field(default_factory=dict)
    """Degrees of model parallelism by axis."""
    shard: int | None = None
    """Tensor-parallel rank; None when only the ranks that save can continue."""

    def save(self, position: Position) -> Diagnostic | None:
        """Saves a checkpoint and removes old ones; returns a finding when it could not be written.

        All ranks must call this; all return the same.
        """
        tag = tag_of(position.step)
        partial = self.run.checkpoints / f"{tag}{PARTIAL}"
        if dist.get_rank() == 0:
            shutil.rmtree(partial, ignore_errors=True)
        dist.barrier()
        with guarded(self.engine) as guard:
            self.engine.save_checkpoint(
                str(self.run.checkpoints),
                tag=partial.name,
                save_latest=False,
                exclude_frozen_parameters=self.frozen_checksum is not None,
            )
            with guard.noting():
                if self.average is not None:
                    self.average.save(partial)
                if self.shard is not None:
                    save_layout(self.engine, partial, dist.get_rank(), self.shard)
        failure = self._agree(guard.failure)
        if failure is None:
            failure = self._agree(self._complete(partial, tag, position) if dist.get_rank() == 0 else None)
        if failure is not None:
            return self._give_up(partial, failure)
        return None

    def _agree(self, failure: str | None) -> str | None:
        """Returns the first failure of any rank."""
        said: list[str | None] = [None] * dist.get_world_size()
        dist.all_gather_object(said, failure)
        return next((text for text in said if text is not None), None)

    def _complete(self, partial: Path, tag: str, position: Position) -> str | None:
        """Makes the directory a checkpoint; returns why not, if it cannot."""
        try:
            sizes = {str(file.relative_to(partial)): _on_disk(file) for file in _files(partial)}
            write_json(partial / MANIFEST, self._manifest(tag, position, sizes).as_json())
            final = self.run.checkpoints / tag
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
            sync(self.run.checkpoints)
            write_text(self.run.checkpoints / "latest", tag)
            self._remove_old()
        except OSError as failure:
            return reason_of(failure)
        return None

    def _manifest(self, tag: str, position: Position, sizes: dict[str, int]) -> Manifest:
        return Manifest(
            tag=tag,
            step=position.step,
            samples=position.samples,
            tokens=position.tokens,
            time=time.time(),
            world_size=dist.get_world_size(),
            zero_stage=self.engine.zero_optimization_stage(),
            dtype=self.dtype,
            convergence_hash=self.convergence_hash,
            files=sizes,
            frozen_checksum=self.frozen_checksum,
            teacher_checksum=self.teacher_checksum,
            parallel=self.parallel,
        )

    def _remove_old(self) -> None:
        complete, _ = catalogue(self.run)
        for checkpoint in self.retention.doomed(complete):
            # A directory that is being removed must not look like a checkpoint any more.
            doomed = checkpoint.path.with_name(f"{checkpoint.path.name}{PARTIAL}")
            checkpoint.path.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)

    def _give_up(self, partial: Path, failure: str) -> Diagnostic:
        if dist.get_rank() == 0:
            shutil.rmtree(partial, ignore_errors=True)
        complete, _ = catalogue(self.run)
        kept = f"`{complete[0].manifest.tag}` is kept" if complete else "there is no earlier one"
        free = format_bytes(shutil.disk_usage(self.run.root).free)
        message = f"`{partial.name.removesuffix(PARTIAL)}` could not be written, {kept}: {failure} ({free} free)"
        help = "free some space; training goes on, and saves again at the next interval"
        return warning("ZT707", "unsaved-checkpoint", message, help=help)


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def _on_disk(file: Path) -> int:
    """Returns the size of a file once its content is on the disk."""
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
        return os.fstat(handle).st_size
    finally:
        os.close(handle)
