"""A run from what a rank is given: a run directory, or a spec of which one is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from zerotrain.compile.emit import compile_spec
from zerotrain.compile.model import settle
from zerotrain.compile.resolve import Resolved
from zerotrain.data.prepare import PreparedData, prepare
from zerotrain.diagnostic import error
from zerotrain.errors import RunError
from zerotrain.hardware.probe import git_state, surroundings
from zerotrain.hardware.software import versions
from zerotrain.runs.create import NewRun
from zerotrain.runs.record import RunRecord
from zerotrain.spec.load import load_spec
from zerotrain.spec.run import RunSpec

Say = Callable[[str], None]


def prepare_run(path: Path, overrides: Sequence[str], world_size: int | None, say: Say) -> NewRun:
    """Reads a spec, prepares its data and settles everything: all that goes into a run directory.

    Raises SpecError for the spec and DataError for the data.
    """
    around, spec = surroundings(), load_spec(path, overrides)
    first = settle(spec, around, world_size=world_size)
    compile_spec(first)
    prepared = prepare_data(first, say)
    resolved = settle(spec, around, world_size=world_size, facts=prepared.facts)
    return NewRun(
        spec_text=path.read_text(encoding="utf-8-sig"),
        overrides=overrides,
        resolved=resolved,
        config=compile_spec(resolved),
        facts=prepared.facts,
        stores=_stores(prepared),
        versions=versions(),
        git=git_state(around.directory),
    )


def prepare_data(settled: Resolved, say: Say) -> PreparedData:
    """Returns the prepared data of a spec that is settled as far as can be without it; raises DataError."""
    return _prepare(settled.spec, settled.shape.max_positions if settled.shape else None, say)


def find_data(record: RunRecord, spec: RunSpec, say: Say) -> dict[str, str | None]:
    """Returns the directories of a run's prepared data, prepared again if the cache has lost them.

    Raises RunError when the data is not what it was when the run began.
    """
    if all(path is None or (Path(path) / "meta.json").is_file() for path in record.stores.values()):
        return dict(record.stores)
    prepared = _prepare(spec, None, say)
    if prepared.facts.fingerprint != record.data.fingerprint:
        message = "the data is not what it was when the run began, and the prepared data is no longer in the cache"
        help = "restore the files, or start a new run"
        raise RunError(error("ZT710", "lost-data", message, help=help, key="data"))
    return _stores(prepared)


def _prepare(spec: RunSpec, max_positions: int | None, say: Say) -> PreparedData:
    return prepare(spec.data, spec.task, max_positions=max_positions, pretrained_model=spec.model.pretrained, say=say)


def _stores(prepared: PreparedData) -> dict[str, str | None]:
    return {
        "train": str(prepared.train),
        "validation": str(prepared.validation) if prepared.validation else None,
        "tokenizer": str(prepared.tokenizer) if prepared.tokenizer else None,
    }
