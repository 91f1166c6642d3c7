"""`run.json`: the lock of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from zerotrain.compile.facts import DataFacts
from zerotrain.diagnostic import error
from zerotrain.errors import RunError
from zerotrain.runs.layout import RunDirectory

_VERSION = 1


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

    def as_json(self) -> dict[str, Any]:
        """Returns the content of `run.json`."""
        return {"version": _VERSION, **asdict(self), "data": self.data.as_json()}


def read_record(run: RunDirectory) -> RunRecord:
    """Returns the record of a run; raises RunError when the directory holds no run or the record is damaged."""
    if not run.record.is_file():
        message = f"`{run.root}` is not a run directory: it has no `run.json`"
        raise RunError(error("ZT702", "not-a-run", message, help="give the path of a run, such as `runs/quickstart`"))
    try:
        content: dict[str, Any] = json.loads(run.record.read_text(encoding="utf-8"))
        content.pop("version")
        content["data"] = DataFacts.from_json(content["data"])
        return RunRecord(**content)
    except (ValueError, TypeError, KeyError, OSError) as broken:
        message = f"`{run.record}` cannot be read: {broken}"
        raise RunError(error("ZT703", "damaged-record", message, help="restore the file, or start a new run")) from None
