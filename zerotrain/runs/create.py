"""Making a run directory: whole or not at all, and never over another run."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zerotrain.compile.dsconfig import DeepSpeedConfig
from zerotrain.compile.facts import DataFacts
from zerotrain.compile.resolve import Resolved
from zerotrain.diagnostic import error
from zerotrain.errors import RunError, reason_of
from zerotrain.runs.files import write_json, write_text
from zerotrain.runs.identity import convergence_hash, execution_hash
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import RunRecord, read_record
from zerotrain.spec.dump import dump_yaml
from zerotrain.spec.run import RunSpec

RUNS = Path("runs")


@dataclass(frozen=True)
class NewRun:
    """Everything that goes into a run directory."""

    spec_text: str
    overrides: Sequence[str]
    resolved: Resolved
    config: DeepSpeedConfig
    facts: DataFacts
    stores: Mapping[str, str | None]
    versions: Mapping[str, str | None]
    git: Mapping[str, Any] | None


def create_run(new: NewRun, runs: Path = RUNS) -> RunDirectory:
    """Writes the run directory and returns it.

    Raises RunError when a directory of that name is there already, or the directory cannot be written.
    """
    run = RunDirectory(runs / new.resolved.spec.name)
    draft = RunDirectory(runs / f".{run.name}.{os.getpid()}")
    refuse_existing(run)
    try:
        draft.root.mkdir(parents=True)
        _fill(draft, new)
        draft.root.rename(run.root)
    except OSError as broken:
        refuse_existing(run)
        message = f"cannot write `{run.root}`: {reason_of(broken)}"
        help = "free some space, or give yourself permission to write there"
        raise RunError(error("ZT704", "unwritable-run", message, help=help)) from None
    finally:
        shutil.rmtree(draft.root, ignore_errors=True)
    return run


def refuse_existing(run: RunDirectory) -> None:
    """Raises RunError when the directory exists."""
    if not os.path.lexists(run.root):
        return
    message = f"`{run.root}` already holds a run" if run.record.exists() else f"`{run.root}` already exists"
    help = f"continue it with `zerotrain resume {run.root}`, choose another `name`, or start over with `--fresh`"
    raise RunError(error("ZT701", "existing-run", message, help=help, key="name"))


def refuse_another(run: RunDirectory, new: NewRun) -> None:
    """Raises RunError when a run directory holds a run that would learn something else than the new one."""
    if read_record(run).convergence_hash != convergence_hash(new.resolved.spec, new.facts):
        message = f"`{run.root}` holds a run of another spec, or of other data"
        help = f"see what differs with `zerotrain diff {run.resolved} SPEC`, or choose another `name`"
        raise RunError(error("ZT714", "another-run", message, help=help, key="name"))


def set_aside(run: RunDirectory) -> Path | None:
    """Renames an existing run directory to the first free `<name>.<N>` and returns that path; nothing is deleted."""
    if not os.path.lexists(run.root):
        return None
    number = 1
    while (aside := run.root.with_name(f"{run.name}.{number}")).exists():
        number += 1
    return run.root.rename(aside)


def _fill(run: RunDirectory, new: NewRun) -> None:
    for directory in (run.logs, run.checkpoints):
        directory.mkdir()
    write_text(run.spec, new.spec_text)
    write_text(run.resolved, dump_spec(new.resolved.spec))
    write_text(run.ds_config, new.config.as_json())
    write_json(run.record, _record(new).as_json())


def dump_spec(spec: RunSpec) -> str:
    """Returns a spec as YAML that reads back as the same spec."""
    return dump_yaml(spec.model_dump(mode="json"))


def _record(new: NewRun) -> RunRecord:
    spec = new.resolved.spec
    assert new.resolved.steps is not None, "a run is made after its data is prepared"
    return RunRecord(
        name=spec.name,
        created=time.time(),
        steps=new.resolved.steps,
        topology=asdict(new.resolved.topology) | {"dp": new.resolved.topology.dp},
        convergence_hash=convergence_hash(spec, new.facts),
        execution_hash=execution_hash(spec),
        data=new.facts,
        stores=dict(new.stores),
        versions=dict(new.versions),
        git=new.git,
        overrides=list(new.overrides),
        model=_parameter_counts(new.resolved),
        resolved=spec.model_dump(mode="json"),
    )


def _parameter_counts(resolved: Resolved) -> dict[str, int]:
    shape = resolved.shape
    if shape is None:
        return {}
    counts = {"params": shape.parameters, "active_params": shape.active_parameters}
    trained = resolved.trainable_parameters
    return counts if trained is None else counts | {"trainable_params": trained}
