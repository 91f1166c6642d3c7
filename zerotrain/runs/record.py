"""`run.json`: the lock of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from zerotrain.compile.facts import DataFacts
from zerotrain.diagnostic import error
from zerotrain.errors import RunError, reason_of
from zerotrain.runs.layout import RunDirectory


@dataclass(frozen=True)
class RunRecord:
    """What a run is; written once, when its directory is made."""

    name: str
    created: float
    """Unix seconds."""
    steps: int
    """Optimizer steps of the whole run."""
    topology: Mapping[str, int]
    convergence_hash: str
    """Runs with the same one have the same loss within rounding."""
    execution_hash: str
    data: DataFacts
    stores: Mapping[str, str | None]
    """Directories of the prepared data: `train`, `validation`, `tokenizer`."""
    versions: Mapping[str, str | None]
    git: Mapping[str, Any] | None
    overrides: list[str]
    """What the command line laid over the spec."""
    model: Mapping[str, Any]
    """Parameter counts."""
    resolved: Mapping[str, Any]
    """The spec with nothing left to settle."""

    version: Literal[1] = 1

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    def as_json(self) -> dict[str, Any]:
        """Returns the content of `run.json`."""
        return {"version": self.version, **asdict(self)}


_RECORD = TypeAdapter(RunRecord)


def read_record(run: RunDirectory) -> RunRecord:
    """Returns the record of a run; raises RunError when the directory holds no run or the record is damaged."""
    if not run.record.is_file():
        message = f"`{run.root}` is not a run directory: it has no `run.json`"
        raise RunError(error("ZT702", "not-a-run", message, help="give the path of a run, such as `runs/quickstart`"))
    try:
        return _RECORD.validate_json(run.record.read_bytes())
    except (OSError, ValidationError) as broken:
        message = f"`{run.record}` cannot be read: {_reason(broken)}"
        raise RunError(error("ZT703", "damaged-record", message, help="restore the file, or start a new run")) from None


def _reason(broken: OSError | ValidationError) -> str:
    if isinstance(broken, OSError):
        return reason_of(broken)
    first = broken.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"`{place}`: {first['msg'].lower()}" if place else first["msg"]
