"""Laying a run out anew before it goes on: on other ranks, with another micro-batch, at another ZeRO stage."""

from __future__ import annotations

from collections.abc import Sequence

from zerotrain.check.runner import check_reading
from zerotrain.compile.emit import compile_spec
from zerotrain.compile.model import settle
from zerotrain.compile.resolve import ranks_of
from zerotrain.diagnostic import Diagnostic, Severity
from zerotrain.errors import SpecError
from zerotrain.hardware.probe import surroundings
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.runs.attempts import hold
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import RunRecord, read_record
from zerotrain.runs.revise import Change, changes, fitting_micro_batch, refuse_changes, revise_run
from zerotrain.spec.launch import LaunchSpec
from zerotrain.spec.load import Reading, load_spec, read_spec

_SOLVED = ("batch.micro_batch_size", "batch.gradient_accumulation_steps")
"""What is found anew for another number of ranks, unless it is given."""


def lay_out_anew(
    run: RunDirectory, others: Sequence[str], world_size: int | None = None, *, accept: bool = False
) -> list[Change]:
    """Changes how a run goes on and returns what is different.

    `others` are overrides, and `world_size` is the new number of ranks. Raises RunError for what would make another run
    of it or bend its curve, which `accept` allows, and SpecError with all findings that speak against the new layout.
    """
    record, around = read_record(run), surroundings()
    overrides = [*_solved(run, record, others, world_size), *others]
    reading = read_spec(run.resolved, overrides)
    _refuse(_errors(reading, around, world_size))
    assert reading.spec is not None, "a spec without errors was read"
    resolved = settle(reading.spec, around, world_size=world_size, facts=record.data)
    changed = changes(record, resolved.spec)
    refuse_changes(changed, accepted=accept)
    with hold(run):
        revise_run(run, resolved, compile_spec(resolved), overrides)
    return changed


def launch_anew(run: RunDirectory, overrides: Sequence[str]) -> LaunchSpec:
    """Returns how the run is started this time; raises SpecError with all findings that speak against it."""
    reading = read_spec(run.resolved, overrides)
    wrong = _errors(reading, surroundings())
    _refuse([finding for finding in wrong if reading.spec is None or (finding.place.key or "").startswith("launch")])
    assert reading.spec is not None, "a spec without errors was read"
    return reading.spec.launch


def _errors(reading: Reading, around: Surroundings, world_size: int | None = None) -> list[Diagnostic]:
    return [finding for finding in check_reading(reading, around, world_size) if finding.severity is Severity.ERROR]


def _refuse(wrong: Sequence[Diagnostic]) -> None:
    if wrong:
        raise SpecError(*wrong)


def _solved(run: RunDirectory, record: RunRecord, others: Sequence[str], world_size: int | None) -> list[str]:
    if any(text.startswith(_SOLVED) for text in others):
        return ["batch.gradient_accumulation_steps=auto"]
    topology = ranks_of(load_spec(run.resolved, others), world_size)
    size = fitting_micro_batch(record, topology)
    return [f"batch.micro_batch_size={size}", "batch.gradient_accumulation_steps=auto"]
