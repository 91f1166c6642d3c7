"""Saving a checkpoint: whole or not at all.

Everything is written into `<tag>.partial`; then comes the manifest, then one rename, then `latest`, then the removal of
old checkpoints. Whatever interrupts this leaves the checkpoints that were complete before.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial as bound
from pathlib import Path

import torch.distributed as dist
from deepspeed import DeepSpeedEngine

from zerotrain.checkpoint.average import WeightAverage
from zerotrain.checkpoint.background import Background
from zerotrain.checkpoint.contents import Contents, contents_of, missing_from
from zerotrain.checkpoint.guard import Job, guarded
from zerotrain.checkpoint.pieces import save_layout
from zerotrain.checkpoint.scaler import scaler_state
from zerotrain.diagnostic import Diagnostic, warning
from zerotrain.errors import reason_of
from zerotrain.runs.catalogue import (
    LATEST,
    MANIFEST,
    PARTIAL,
    Checkpoint,
    Manifest,
    catalogue,
    is_being_read,
    tag_of,
)
from zerotrain.runs.files import sync, write_json, write_text
from zerotrain.runs.layout import RunDirectory
from zerotrain.units import format_bytes


@dataclass(frozen=True)
class Position:
    """How far the run is that is saved."""

    step: int
    samples: int
    tokens: int
    loss: float | None = None
    """Of the last update."""
    lr: float | None = None
    """Learning rate of the last update."""


@dataclass(frozen=True)
class Retention:
    """Which checkpoints stay when a new one is complete."""

    keep_last: int
    """Newest ones that stay."""
    best: Callable[[Sequence[Checkpoint]], Checkpoint | None]
    """Returns the one that stays however old it is, if there is one."""

    def doomed(self, complete: Sequence[Checkpoint]) -> list[Checkpoint]:
        """Returns what is to be removed of the complete checkpoints, which are given newest first.

        What someone reads stays until the next time.
        """
        best = self.best(complete)
        old = [checkpoint for checkpoint in complete[self.keep_last :] if checkpoint != best]
        return [checkpoint for checkpoint in old if not is_being_read(checkpoint)]


@dataclass
class Saver:
    """Saves checkpoints of one run."""

    run: RunDirectory
    engine: DeepSpeedEngine
    retention: Retention
    blank: Manifest
    """What all manifests have in common. Frozen weights of which it has a checksum are not saved."""
    average: WeightAverage | None = None
    """Saved in the checkpoint too."""
    shard: int | None = None
    """Tensor-parallel rank; None when only the ranks that save can continue."""
    asynchronous: bool = False
    """Training goes on while a checkpoint is written; it is complete at the next one at the latest."""
    _under_way: tuple[str, Background] | None = field(default=None, init=False)

    def save(
        self, position: Position, *, is_last: bool = False, needed: int = 0
    ) -> tuple[Diagnostic | None, Diagnostic | None]:
        """Saves a checkpoint and removes old ones.

        Returns why the one before, if it was still being written, and this one could not be written. The last of an
        attempt is complete on return. There must be room for another one of those there are, and for `needed` bytes.
        All ranks must call this; all return the same.
        """
        before = self._settle()
        manifest = replace(self.blank, tag=tag_of(position.step), **asdict(position), scaler=scaler_state(self.engine))
        partial, later = self._partial(manifest.tag), self.asynchronous and not is_last
        failure, contents = self._agree(self._make_room(partial, needed) if dist.get_rank() == 0 else None)
        jobs: list[Job] = []
        if failure is None:
            failure, contents = self._agree(*self._write(partial, jobs if later else None))
        if failure is None and later:
            complete = bound(self._complete, manifest)
            ranks = dist.get_rank(), dist.get_world_size()
            self._under_way = manifest.tag, Background(partial, *ranks, jobs, complete)
            return before, None
        if failure is None:
            failure, _ = self._agree(self._complete(manifest, contents) if dist.get_rank() == 0 else None)
        return before, self._end(manifest.tag, failure)

    def _settle(self) -> Diagnostic | None:
        """Waits for the checkpoint that is still being written."""
        if self._under_way is None:
            return None
        (tag, background), self._under_way = self._under_way, None
        failure, _ = self._agree(background.failure_to_write())
        unfinished, _ = self._agree(background.end(is_good=failure is None))
        return self._end(tag, failure or unfinished)

    def _end(self, tag: str, failure: str | None) -> Diagnostic | None:
        """Removes old checkpoints after a good one, or what is left of one that was not written."""
        if failure is not None:
            return self._give_up(self._partial(tag), failure)
        if dist.get_rank() == 0:
            self.remove_old()
        return None

    def _partial(self, tag: str) -> Path:
        return self.run.checkpoints / f"{tag}{PARTIAL}"

    def _make_room(self, partial: Path, least: int) -> str | None:
        """Makes the directory, empty; returns why not, or that there is no room for another checkpoint.

        The old ones go only when it is complete.
        """
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        except OSError as failure:
            return reason_of(failure)
        complete, _ = catalogue(self.run)
        needed = max(complete[0].manifest.bytes if complete else 0, least)
        free = shutil.disk_usage(self.run.root).free
        return f"it takes {format_bytes(needed)} beside those that are there" if free < needed else None

    def _write(self, partial: Path, jobs: list[Job] | None) -> tuple[str | None, Contents]:
        """Writes what this rank holds; returns why it could not, and what it has written.

        With a list of jobs, copies of large states are put there instead.
        """
        with guarded(self.engine, jobs) as guard:
            self.engine.save_checkpoint(
                str(self.run.checkpoints),
                tag=partial.name,
                save_latest=False,
                exclude_frozen_parameters=self.blank.frozen_checksum is not None,
            )
            if self.average is not None and (state := self.average.state()) is not None:
                guard.write(state, self.average.file(partial))
            with guard.noting():
                if self.shard is not None:
                    guard.written += save_layout(self.engine, partial, dist.get_rank(), self.shard)
                return guard.failure, contents_of(partial, guard.written)
        return guard.failure, {}

    def _agree(self, failure: str | None, contents: Contents | None = None) -> tuple[str | None, Contents]:
        """Returns the first failure of any rank, and what all have written."""
        said: list[tuple[str | None, Contents]] = [(None, {})] * dist.get_world_size()
        dist.all_gather_object(said, (failure, contents or {}))
        written = {name: content for _, own in said for name, content in own.items()}
        return next((text for text, _ in said if text is not None), None), written

    def _complete(self, manifest: Manifest, contents: Contents) -> str | None:
        """Makes the directory a checkpoint; returns why not, if it cannot."""
        partial, final = self._partial(manifest.tag), self.run.checkpoints / manifest.tag
        try:
            # DeepSpeed also copies scripts into it, and ranks their layouts.
            contents = contents | contents_of(partial, missing_from(contents, partial))
            files = {name: size for name, (size, _) in sorted(contents.items())}
            sums = {name: digest for name, (_, digest) in sorted(contents.items())}
            manifest = replace(manifest, time=time.time(), files=files, sha256=sums)
            write_json(partial / MANIFEST, manifest.as_json())
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
            sync(self.run.checkpoints)
            write_text(self.run.checkpoints / LATEST, manifest.tag)
        except OSError as failure:
            return reason_of(failure)
        return None

    def remove_old(self) -> None:
        """Removes the checkpoints that need not stay; one rank alone calls this."""
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
