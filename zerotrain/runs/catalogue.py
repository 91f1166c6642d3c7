"""The checkpoints of a run. One without a complete, matching manifest does not exist."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter

from zerotrain.runs.files import write_text
from zerotrain.runs.layout import RunDirectory

MANIFEST = "manifest.json"
PARTIAL = ".partial"
LATEST = "latest"
"""File that names the newest complete checkpoint."""
_DAMAGED = "damaged.txt"
"""File that says what was found wrong with a checkpoint; it is not looked at again."""

_CHUNK = 1 << 24


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint holds; written last."""

    tag: str
    step: int
    samples: int
    """Samples consumed."""
    tokens: int
    """Tokens trained on."""
    time: float
    """Unix seconds."""
    world_size: int
    zero_stage: int
    dtype: str
    convergence_hash: str
    files: Mapping[str, int]
    """Relative path to size in bytes."""
    frozen_checksum: str | None = None
    """Checksum of the frozen weights, which are not in the files: they are those the run started from. None when the
    files hold all weights."""
    teacher_checksum: str | None = None
    """Checksum of the weights of the teacher; None without one."""
    parallel: Mapping[str, int] = field(default_factory=dict)
    """Degrees of model parallelism by axis: `tp`, `pp`, `sp`, `ep`."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Relative path to checksum."""
    identity_hash: str | None = None
    """Hash of what makes the run this one; None in checkpoints of versions before 0.2."""
    data_fingerprint: str | None = None
    versions: Mapping[str, str | None] = field(default_factory=dict)
    """Packages this was saved with."""
    seed: int | None = None
    """Every random number follows from it and from the position; there is no state of a generator to be saved."""
    attempt: int | None = None
    """Number of the attempt that saved it."""
    loss: float | None = None
    """Of the step."""
    lr: float | None = None
    """Learning rate of the step."""
    scaler: Mapping[str, float] = field(default_factory=dict)
    """State of fp16's loss scaler."""
    version: Literal[1] = 1

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(self.files.values())

    def as_json(self) -> dict[str, Any]:
        """Returns the content of `manifest.json`."""
        return {"version": self.version, **asdict(self)}


_MANIFEST = TypeAdapter(Manifest)


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint."""

    path: Path
    manifest: Manifest


@dataclass(frozen=True)
class PassedOver:
    """A directory among the checkpoints that is none, and why."""

    path: Path
    reason: str


def tag_of(step: int) -> str:
    """Returns the name of the checkpoint of a step."""
    return f"step-{step}"


def catalogue(run: RunDirectory) -> tuple[list[Checkpoint], list[PassedOver]]:
    """Returns the complete checkpoints, newest first, and what was passed over."""
    good: list[Checkpoint] = []
    bad: list[PassedOver] = []
    for path in run.checkpoints.iterdir() if run.checkpoints.is_dir() else ():
        if path.is_dir() and not path.name.startswith("."):
            read = read_checkpoint(path)
            (good if isinstance(read, Checkpoint) else bad).append(read)  # type: ignore[arg-type]
    good.sort(key=lambda checkpoint: checkpoint.manifest.step, reverse=True)
    return good, sorted(bad, key=lambda passed: passed.path.name)


def was_ever_saved(run: RunDirectory) -> bool:
    """Tells whether a run has completed a checkpoint, as far as what is left of it tells."""
    if not run.checkpoints.is_dir():
        return True
    found = list(run.checkpoints.iterdir())
    # DeepSpeed puts files of its own there, `zero_to_fp32.py` among them, before a first checkpoint is complete.
    return any(path.name == LATEST or (path.is_dir() and not path.name.endswith(PARTIAL)) for path in found)


def read_checkpoint(path: Path) -> Checkpoint | PassedOver:
    """Returns the checkpoint in a directory, or why there is none."""
    if path.name.endswith(PARTIAL):
        return PassedOver(path, "it was never completed")
    if (path / _DAMAGED).is_file():
        return PassedOver(path, (path / _DAMAGED).read_text(encoding="utf-8").strip())
    try:
        manifest = _MANIFEST.validate_json((path / MANIFEST).read_bytes())
    except FileNotFoundError:
        return PassedOver(path, "it has no manifest")
    except (OSError, ValueError):
        return PassedOver(path, "its manifest cannot be read")
    wrong = _first_difference(path, manifest)
    return PassedOver(path, wrong) if wrong else Checkpoint(path, manifest)


def _first_difference(path: Path, manifest: Manifest) -> str | None:
    for name, size in manifest.files.items():
        file = path / name
        if not file.is_file():
            return f"`{name}` is missing"
        if (found := file.stat().st_size) != size:
            return f"`{name}` has {found} of {size} bytes"
    return None


def checksum(file: Path) -> str:
    """Returns the SHA-256 of a file."""
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def altered_files(checkpoint: Checkpoint, part: int = 0, parts: int = 1) -> list[str]:
    """Returns which files of a checkpoint are not what was saved, by their checksums; reads them whole.

    Of `parts` readers that share the work this is number `part`.
    """
    own = sorted(checkpoint.manifest.sha256.items())[part::parts]
    return [name for name, expected in own if checksum(checkpoint.path / name) != expected]


def mark_damaged(checkpoint: Checkpoint, reason: str) -> None:
    """Lets everyone pass over a checkpoint from now on."""
    write_text(checkpoint.path / _DAMAGED, f"{reason}\n")


@contextmanager
def reading(checkpoint: Checkpoint) -> Generator[None]:
    """Keeps a checkpoint from being removed while it is read."""
    with (checkpoint.path / MANIFEST).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def is_being_read(checkpoint: Checkpoint) -> bool:
    """Tells whether someone reads a checkpoint, on this machine or through a file system that shares locks."""
    with (checkpoint.path / MANIFEST).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
