"""A copy of a run at another place, and the way back.

Below the place the run has a directory of its name, laid out as here: `run.json`, `metrics.jsonl` …, `checkpoints/`,
`export/`, `exports/`. Checkpoints and exports there are complete or do not exist.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from zerotrain.checkpoint.export import Exported, export_run
from zerotrain.checkpoint.places import Place, open_place
from zerotrain.diagnostic import error
from zerotrain.errors import CheckpointError
from zerotrain.runs.catalogue import (
    MANIFEST,
    PARTIAL,
    Checkpoint,
    PassedOver,
    altered_files,
    catalogue,
    read_checkpoint,
    reading,
)
from zerotrain.runs.exports import SIGNATURE, exports
from zerotrain.runs.layout import RunDirectory

_ORDERS = ("SAVE", "STOP")


def archive_run(
    run: RunDirectory, to: str, *, tag: str | None = None, with_checkpoint: bool = True, with_exports: bool = True
) -> list[str]:
    """Copies a run's records, one checkpoint and its exports below `to`; returns what was not there before.

    `tag` names the checkpoint, by default the newest. What was copied earlier stays. Raises CheckpointError.
    """
    place = open_place(to) / run.name
    copied: list[str] = []
    checkpoint = _checkpoint(run, tag) if with_checkpoint else None
    place.put(run.root, _records(run))
    if checkpoint is not None:
        with reading(checkpoint):
            if (place / run.checkpoints.name / checkpoint.path.name).put_sealed(checkpoint.path, MANIFEST):
                copied.append(f"{run.checkpoints.name}/{checkpoint.path.name}")
    for export in exports(run) if with_exports else ():
        name = str(export.relative_to(run.root))
        if (place / name).put_sealed(export, SIGNATURE):
            copied.append(name)
    return copied


def export_to(url: str, run: RunDirectory, **chosen: str | None) -> Exported:
    """Exports a run to a URL, by way of the run directory; `chosen` is for `export_run`. Raises CheckpointError."""
    place = open_place(url)
    if place.read(SIGNATURE) is None and place.files():
        message = f"`{url}` holds something that is not an export, and an export would replace it"
        raise CheckpointError(error("ZT712", "foreign-directory", message, help="give a new or an empty directory"))
    with TemporaryDirectory(prefix=".export-", dir=run.root) as folder:
        exported = export_run(run, Path(folder, "export"), **chosen)
        place.put_sealed(exported.directory, SIGNATURE)
    return exported


def _checkpoint(run: RunDirectory, tag: str | None) -> Checkpoint | None:
    complete, _ = catalogue(run)
    chosen = next((checkpoint for checkpoint in complete if tag in (None, checkpoint.manifest.tag)), None)
    if chosen is None and tag is not None:
        message = f"`{run.root}` has no complete checkpoint `{tag}`"
        raise CheckpointError(error("ZT705", "nothing-to-resume", message, help="leave `--checkpoint` out"))
    return chosen


def _records(run: RunDirectory) -> Iterator[str]:
    """Yields what tells of the run, and what tasks keep beside it; no rank's log, no model."""
    for path in sorted(run.root.iterdir()):
        if path.is_file() and not path.name.startswith(".") and path.name not in _ORDERS:
            yield path.name
    for folder, pattern in ((run.logs, "attempt-*/*.json"), (run.reference, "**/*")):
        yield from (str(path.relative_to(run.root)) for path in sorted(folder.glob(pattern)) if path.is_file())


def fetch_run(url: str, target: Path, tag: str | None = None) -> Checkpoint | None:
    """Makes a run directory of an archived run, with one checkpoint, by default the newest; None when it has none.

    All files are compared with the checksums of the manifest. Raises CheckpointError when there is no such run or
    checkpoint, what is there is damaged, or the directory holds something.
    """
    if target.exists() and any(target.iterdir()):
        message = f"`{target}` is there and not empty"
        raise CheckpointError(error("ZT712", "foreign-directory", message, help="give another directory with `-o`"))
    place, run = open_place(url), RunDirectory(target)
    if place.read(run.record.name) is None:
        message = f"`{url}` holds no archived run: it has no `{run.record.name}`"
        raise CheckpointError(error("ZT702", "not-a-run", message, help="give the place of one run, `…/NAME`"))
    chosen = _archived(place / run.checkpoints.name, url, tag)
    apart = (f"{run.checkpoints.name}/", f"{run.export.name}/", f"{run.exports.name}/")
    place.get((name for name in place.files() if not name.startswith(apart)), target)
    if chosen is None:
        return None
    return _fetch_checkpoint(place / run.checkpoints.name / chosen, run.checkpoints / chosen)


def _archived(place: Place, url: str, tag: str | None) -> str | None:
    """Returns the name of the newest complete checkpoint, or of the one that is asked for if it is complete."""
    steps: dict[str, int] = {}
    for name in place.directories():
        manifest = (place / name).read(MANIFEST)
        if manifest is not None:
            steps[name] = json.loads(manifest)["step"]
    if tag is not None and tag not in steps:
        there = f"; there are {', '.join(f'`{name}`' for name in steps)}" if steps else ""
        message = f"`{url}` has no complete checkpoint `{tag}`{there}"
        raise CheckpointError(error("ZT705", "nothing-to-resume", message, help="leave `--checkpoint` out"))
    return tag or max(steps, key=lambda name: steps[name], default=None)


def _fetch_checkpoint(place: Place, target: Path) -> Checkpoint:
    draft = target.with_name(f"{target.name}{PARTIAL}")
    shutil.rmtree(draft, ignore_errors=True)
    place.get(place.files(), draft)
    draft.rename(target)
    found = read_checkpoint(target)
    why = found.reason if isinstance(found, PassedOver) else None
    if isinstance(found, Checkpoint):
        altered = altered_files(found)
        if not altered:
            return found
        why = f"`{altered[0]}` is not what was saved"
    shutil.rmtree(target)
    message = f"the copy `{target.name}` of `{place.url}` is damaged: {why}"
    raise CheckpointError(error("ZT711", "damaged-checkpoint", message, help="take an earlier one, `--checkpoint`"))
