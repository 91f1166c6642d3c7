"""Saving a checkpoint: whole or not at all.

Everything is written into `<tag>.partial`; then comes the manifest, then one rename, then `latest`, then the removal of
old checkpoints. Whatever interrupts this leaves the checkpoints that were complete before.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch.distributed as dist
from deepspeed import DeepSpeedEngine

from zerotrain.checkpoint.average import WeightAverage
from zerotrain.checkpoint.guard import guarded
from zerotrain.checkpoint.pieces import save_layout
from zerotrain.checkpoint.scaler import scaler_state
from zerotrain.diagnostic import Diagnostic, warning
from zerotrain.errors import reason_of
from zerotrain.runs.catalogue import (
    MANIFEST,
    PARTIAL,
    Checkpoint,
    Manifest,
    catalogue,
    checksum,
    is_being_read,
    tag_of,
)
from zerotrain.runs.files import sync, write_json, write_text
from zerotrain.runs.layout import RunDirectory
from zerotrain.units import format_bytes

Contents = dict[str, tuple[int, str]]
"""Relative path to size in bytes and checksum."""


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


@dataclass(frozen=True)
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

    def save(self, position: Position) -> Diagnostic | None:
        """Saves a checkpoint and removes old ones; returns a finding when it could not be written.

        All ranks must call this; all return the same.
        """
        tag = tag_of(position.step)
        partial = self.run.checkpoints / f"{tag}{PARTIAL}"
        if dist.get_rank() == 0:
            shutil.rmtree(partial, ignore_errors=True)
        failure, contents = self._agree(self._lack_of_space() if dist.get_rank() == 0 else None)
        if failure is None:
            failure, contents = self._agree(*self._write(partial))
        if failure is None:
            reason = self._complete(partial, tag, position, contents) if dist.get_rank() == 0 else None
            failure, _ = self._agree(reason)
        return None if failure is None else self._give_up(partial, failure)

    def _lack_of_space(self) -> str | None:
        """Returns why there is no room for another checkpoint; the old ones go only when it is complete."""
        complete, _ = catalogue(self.run)
        needed, free = (complete[0].manifest.bytes if complete else 0), shutil.disk_usage(self.run.root).free
        return f"it takes {format_bytes(needed)} beside those that are there" if free < needed else None

    def _write(self, partial: Path) -> tuple[str | None, Contents]:
        """Writes what this rank holds; returns why it could not, and what it has written."""
        with guarded(self.engine) as guard:
            self.engine.save_checkpoint(
                str(self.run.checkpoints),
                tag=partial.name,
                save_latest=False,
                exclude_frozen_parameters=self.blank.frozen_checksum is not None,
            )
            with guard.noting():
                if self.average is not None:
                    guard.written += self.average.save(partial)
                if self.shard is not None:
                    guard.written += save_layout(self.engine, partial, dist.get_rank(), self.shard)
                return guard.failure, _contents(partial, guard.written)
        return guard.failure, {}

    def _agree(self, failure: str | None, contents: Contents | None = None) -> tuple[str | None, Contents]:
        """Returns the first failure of any rank, and what all have written."""
        said: list[tuple[str | None, Contents]] = [(None, {})] * dist.get_world_size()
        dist.all_gather_object(said, (failure, contents or {}))
        written = {name: content for _, own in said for name, content in own.items()}
        return next((text for text, _ in said if text is not None), None), written

    def _complete(self, partial: Path, tag: str, position: Position, contents: Contents) -> str | None:
        """Makes the directory a checkpoint; returns why not, if it cannot."""
        try:
            # DeepSpeed also copies scripts into it.
            others = [file for file in _files(partial) if str(file.relative_to(partial)) not in contents]
            contents = contents | _contents(partial, others)
            write_json(partial / MANIFEST, self._manifest(tag, position, contents).as_json())
            final = self.run.checkpoints / tag
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
            sync(self.run.checkpoints)
            write_text(self.run.checkpoints / "latest", tag)
            self._remove_old()
        except OSError as failure:
            return reason_of(failure)
        return None

    def _manifest(self, tag: str, position: Position, contents: Contents) -> Manifest:
        return replace(
            self.blank,
            tag=tag,
            **asdict(position),
            time=time.time(),
            files={name: size for name, (size, _) in sorted(contents.items())},
            sha256={name: digest for name, (_, digest) in sorted(contents.items())},
            scaler=scaler_state(self.engine),
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


def _contents(directory: Path, files: Sequence[Path]) -> Contents:
    """Returns the sizes and checksums of files once their contents are on the disk."""
    contents: Contents = {}
    for file in files:
        sync(file)
        contents[str(file.relative_to(directory))] = file.stat().st_size, checksum(file)
    return contents
