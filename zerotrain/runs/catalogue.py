"""The checkpoints of a run. One without a complete, matching manifest does not exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter

from zerotrain.runs.layout import RunDirectory

MANIFEST = "manifest.json"
PARTIAL = ".partial"


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
    version: Literal[1] = 1

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

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


def read_checkpoint(path: Path) -> Checkpoint | PassedOver:
    """Returns the checkpoint in a directory, or why there is none."""
    if path.name.endswith(PARTIAL):
        return PassedOver(path, "it was never completed")
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
