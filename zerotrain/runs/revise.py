"""Changing how a run goes on: on other ranks, with another share of its states, or with another schedule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from zerotrain.compile.compare import ABSENT, unequal
from zerotrain.compile.dsconfig import DeepSpeedConfig
from zerotrain.compile.resolve import Resolved
from zerotrain.diagnostic import error
from zerotrain.errors import RunError
from zerotrain.hardware.topology import Topology
from zerotrain.runs.attempts import last_attempt
from zerotrain.runs.create import dump_spec
from zerotrain.runs.files import write_json, write_text
from zerotrain.runs.identity import Continuation, continuation_of, convergence_hash, execution_hash
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import RunRecord, read_record
from zerotrain.spec.run import RunSpec
from zerotrain.spec.suggest import listed

_SUGGESTED = 4


@dataclass(frozen=True)
class Change:
    """A key of the spec that is no longer what it was."""

    key: str
    before: Any
    after: Any
    meaning: Continuation
    """What the change means for the run."""

    def __str__(self) -> str:
        return f"{self.key}: {_shown(self.before)} -> {_shown(self.after)}"


def changes(record: RunRecord, after: RunSpec) -> list[Change]:
    """Returns what of a run's settled spec would change."""
    found = unequal(record.resolved, after.model_dump(mode="json"), {}, {})
    return [Change(key, before, now, continuation_of(key, after)) for key, before, now in found]


def refuse_changes(changed: Sequence[Change], *, accepted: bool) -> None:
    """Raises RunError for changes that make another run of it, and for those of its schedule that are not accepted."""
    other = [str(change) for change in changed if change.meaning == "identity"]
    if other:
        message = f"it would be another run: {'; '.join(other)}"
        help = "start a new run with `zerotrain train`, from this one's export if need be"
        raise RunError(error("ZT715", "changed-run", message, help=help))
    bent = [str(change) for change in changed if change.meaning == "schedule"]
    if bent and not accepted:
        message = f"its loss curve would no longer be that of one run: {'; '.join(bent)}"
        raise RunError(error("ZT717", "unaccepted-change", message, help="say `--accept` if that is meant"))


def fitting_micro_batch(record: RunRecord, topology: Topology) -> int:
    """Returns the largest micro-batch, not above the run's own, with which these ranks make the same global batch.

    Raises RunError when there is none.
    """
    batch, ranks = record.resolved["batch"], topology.dp
    total, usual = batch["global_batch_size"], batch["micro_batch_size"]
    if ranks == 0 or topology.world_size % topology.model_parallel_size or total % ranks:
        fitting = listed(map(str, _nearest(topology, total)), "or")
        message = f"{topology.world_size} ranks cannot share the global batch of {total} samples evenly"
        raise RunError(error("ZT718", "unshared-batch", message, help=f"use {fitting} ranks", key="batch"))
    return _largest_share(total // ranks, usual)


def smaller_micro_batch(record: RunRecord) -> int | None:
    """Returns the largest micro-batch that is at most half of the run's and makes the same global batch, or None."""
    batch = record.resolved["batch"]
    half = batch["micro_batch_size"] // 2
    return _largest_share(batch["global_batch_size"] // record.topology["dp"], half) if half else None


def _largest_share(samples: int, limit: int) -> int:
    return next(size for size in range(min(limit, samples), 0, -1) if samples % size == 0)


def _nearest(topology: Topology, total: int) -> list[int]:
    """Returns the numbers of ranks nearest to what was asked for that divide the global batch, smallest first."""
    together = topology.model_parallel_size
    possible = [ranks * together for ranks in range(1, total + 1) if total % ranks == 0]
    return sorted(sorted(possible, key=lambda size: abs(size - topology.world_size))[:_SUGGESTED])


def revise_run(run: RunDirectory, resolved: Resolved, config: DeepSpeedConfig, overrides: Sequence[str]) -> None:
    """Writes what the next attempt trains with; what the attempts before had is kept beside their logs.

    The record is replaced last, in one piece.
    """
    record, spec = read_record(run), resolved.spec
    assert resolved.steps is not None, "the data of a run is prepared"
    write_json(run.logs / f"run-until-attempt-{last_attempt(run)}.json", record.as_json())
    write_text(run.resolved, dump_spec(spec))
    write_text(run.ds_config, config.as_json())
    revised = replace(
        record,
        steps=resolved.steps,
        topology=asdict(resolved.topology) | {"dp": resolved.topology.dp},
        convergence_hash=convergence_hash(spec, record.data),
        execution_hash=execution_hash(spec),
        overrides=[*record.overrides, *overrides],
        resolved=spec.model_dump(mode="json"),
    )
    write_json(run.record, revised.as_json())


def changed_versions(record: RunRecord, now: Mapping[str, str | None]) -> Iterator[str]:
    """Yields each package that is not what the run began with, in words."""
    for package, version in record.versions.items():
        if now.get(package) != version:
            yield f"{package} {version or 'none'} -> {now.get(package) or 'none'}"


def _shown(value: Any) -> str:
    return "nothing" if value is ABSENT or value is None else f"`{value}`"
