"""One attempt at a run, from the run directory to the last checkpoint."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import closing
from textwrap import indent

import torch.distributed as dist

from zerotrain.checkpoint.archive import archive_run
from zerotrain.checkpoint.average import WeightAverage
from zerotrain.checkpoint.export import BEST, export_run
from zerotrain.checkpoint.generate import generate
from zerotrain.checkpoint.resume import (
    checkpoint_to_resume,
    is_shared_otherwise,
    load_checkpoint,
    refuse_unshareable,
)
from zerotrain.compile.resolve import ranks_of
from zerotrain.diagnostic import Diagnostic, error, warning
from zerotrain.engine.assemble import Parts, assemble
from zerotrain.engine.errands import Errands, as_line, refuse_unreachable_archive
from zerotrain.engine.interruption import StopRequests
from zerotrain.engine.loop import train
from zerotrain.engine.meet import OpenedRun
from zerotrain.engine.quirks import replay_bias_correction
from zerotrain.engine.ranks import Ranks
from zerotrain.engine.setup import ReadyEngine, build_engine
from zerotrain.engine.state import TrainState
from zerotrain.errors import CheckpointError, RunError
from zerotrain.monitor.console import Console
from zerotrain.monitor.hang import Standing, Watchdog
from zerotrain.monitor.sinks.console import ConsoleSink
from zerotrain.monitor.sinks.table import open_sinks
from zerotrain.runs.attempts import Attempt, end_attempt, write_attempt
from zerotrain.runs.catalogue import Checkpoint
from zerotrain.runs.ending import refuse_finished
from zerotrain.runs.history import curve
from zerotrain.runs.identity import identity_hash
from zerotrain.runs.record import read_record
from zerotrain.spec.run import ExportSpec, RunSpec
from zerotrain.units import TimeSpan


def run_attempt(
    run: OpenedRun, ranks: Ranks, console: Console, requests: StopRequests, end: Callable[[Diagnostic], None]
) -> bool:
    """Trains a run to its end, from its newest complete checkpoint if it has one.

    Returns False when someone has asked to stop: a checkpoint is saved, and another attempt goes on from it. Which rank
    hangs is told to `end`, which does not return. Raises ZerotrainError for what a user can put right.
    """
    record = read_record(run.directory)
    spec = RunSpec.model_validate(record.resolved)
    watchdog = _watchdog(run, spec, ranks, end)
    errands = Errands(run.directory, spec, run.attempt, ranks.is_first)
    parts = Parts(run.directory, record, spec, run.stores, ranks, run.attempt, console, requests, watchdog, errands)
    refuse_finished(run.directory)
    refuse_unreachable_archive(spec, is_first=ranks.is_first)
    checkpoint = _checkpoint(parts)
    _begin(parts, checkpoint)
    ready = build_engine(run.directory, spec, record.data, console.say)
    average = WeightAverage(ready.engine, spec.ema) if spec.ema else None
    state = _state(parts, ready, average, checkpoint)
    console_sink = ConsoleSink(console, record.steps)
    with errands:
        with closing(open_sinks(run.directory, spec.monitor, ranks.rank, state.step + 1, console_sink)) as sink:
            train(assemble(parts, ready, average, state, checkpoint, sink))
        if state.ending is not None:
            console.say(f"stopped early, after {state.step} of {record.steps} steps: {state.ending}")
        if state.interruption is not None:
            return _stop(parts, state)
        return _finish(parts, state)


def _watchdog(run: OpenedRun, spec: RunSpec, ranks: Ranks, end: Callable[[Diagnostic], None]) -> Watchdog | None:
    limit = spec.health.hang
    if limit is None:
        return None
    assert isinstance(limit, TimeSpan), "a run is made of what is settled"
    return Watchdog(Standing(run.directory, run.attempt, ranks.rank, ranks.world_size, limit), end)


def _checkpoint(parts: Parts) -> Checkpoint | None:
    """Returns the checkpoint to continue from; says which were passed over."""
    identity = identity_hash(parts.spec, parts.record.data)
    verify = parts.spec.checkpoint.verify == "full"
    checkpoint, passed_over = checkpoint_to_resume(parts.run, identity, verify=verify)
    for passed in passed_over:
        parts.console.say(f"passed over `{passed.path.name}`: {passed.reason}")
    _refuse_other_ranks(parts)
    if checkpoint is None and curve(parts.run):
        parts.console.say("the run was ended before its first checkpoint: it begins again")
    if checkpoint is not None and is_shared_otherwise(checkpoint, parts.spec, parts.ranks.world_size):
        refuse_unshareable(checkpoint, parts.spec)
    return checkpoint


def _refuse_other_ranks(parts: Parts) -> None:
    """Raises RunError when there are other ranks than the run is laid out for."""
    expected, found = ranks_of(parts.spec).world_size, parts.ranks.world_size
    if found != expected:
        message = f"the run is laid out for {expected} ranks and was started on {found}"
        help = f"lay it out anew: `zerotrain resume {parts.run.root} --world-size {found}`"
        raise RunError(error("ZT706", "other-world-size", message, help=help))


def _begin(parts: Parts, checkpoint: Checkpoint | None) -> None:
    if parts.ranks.is_first:
        tag = checkpoint.manifest.tag if checkpoint else None
        host, pid = socket.gethostname(), os.getpid()
        started = Attempt(parts.attempt, time.time(), parts.ranks.world_size, host=host, pid=pid, resumed_from=tag)
        write_attempt(parts.run, started)


def _state(
    parts: Parts, ready: ReadyEngine, average: WeightAverage | None, checkpoint: Checkpoint | None
) -> TrainState:
    if checkpoint is None:
        return TrainState()
    is_elastic = is_shared_otherwise(checkpoint, parts.spec, parts.ranks.world_size)
    shard = parts.topology.tp_rank(parts.ranks.rank) if is_elastic else None
    position = load_checkpoint(ready.engine, checkpoint, shard)
    replay_bias_correction(ready.engine)
    if average is not None:
        average.load(checkpoint, shard)
    how = f", which {checkpoint.manifest.world_size} ranks shared otherwise" if is_elastic else ""
    parts.console.say(f"continuing from `{checkpoint.manifest.tag}`{how}")
    return TrainState(position.step, position.samples, position.tokens)


def _stop(parts: Parts, state: TrainState) -> bool:
    parts.console.say(f"stopped after {state.step} of {parts.record.steps} steps: {state.interruption}")
    if parts.ranks.is_first:
        end_attempt(parts.run, parts.attempt, "stopped", last_step=state.step, reason=state.interruption)
    _part()
    if parts.ranks.is_first:
        parts.errands.cancel()
        _archive(parts)
    return False


def _finish(parts: Parts, state: TrainState) -> bool:
    """Lets the other ranks go; the first exports what the spec asks for."""
    _part()
    if parts.ranks.is_first:
        for told in parts.errands.finish():
            parts.console.say(as_line(told))
        if parts.spec.export is not None:
            _export(parts, parts.spec.export)
        facts = {"last_step": state.step, "reason": state.ending, "is_at_limit": state.is_at_limit}
        end_attempt(parts.run, parts.attempt, "finished", **facts)
        _archive(parts)
    return True


def _part() -> None:
    dist.barrier()
    dist.destroy_process_group()


def _archive(parts: Parts) -> None:
    """Copies the last checkpoint if the spec asks for it; a run that is here is not lost when that fails."""
    archive = parts.spec.archive
    if archive is None:
        return
    try:
        copied = archive_run(parts.run, archive.to, with_exports=archive.exports)
    except CheckpointError as failed:
        (why,) = failed.findings
        help = f"the run is here: `zerotrain archive {parts.run.root}`"
        parts.console.say(
            as_line(warning("ZT782", "failed-errand", f"the last archive failed: {why.message}", help=help))
        )
    else:
        what = ", ".join(f"`{name}`" for name in copied) or "nothing new"
        parts.console.say(f"copied {what} to `{archive.to.rstrip('/')}/{parts.run.name}`")


def _export(parts: Parts, export: ExportSpec) -> None:
    tag = BEST if export.checkpoint == "best" else None
    exported = export_run(parts.run, parts.run.export, dtype=export.dtype, tag=tag, weights=export.weights)
    parts.console.say(f"exported {exported} to `{exported.directory}`, read back and compared")
    if export.sample is not None:
        for text in generate(exported.directory, export.sample, parts.spec.seed):
            parts.console.say(f"\ngenerated by plain transformers from the export:\n{indent(text, '    ')}")
