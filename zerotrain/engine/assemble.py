"""The pieces of a run put together: task, data, hooks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from deepspeed import DeepSpeedEngine

from zerotrain.arch.flops import forward_backward_flops_per_token
from zerotrain.checkpoint.average import WeightAverage
from zerotrain.checkpoint.frozen import frozen_checksum, refuse_other_teacher
from zerotrain.checkpoint.save import Position, Retention, Saver
from zerotrain.compile.model import settle
from zerotrain.compile.resolve import ranks_of
from zerotrain.compile.sizes import checkpoint_bytes
from zerotrain.data.batch import Batch
from zerotrain.data.loader import Loader
from zerotrain.data.stores.table import open_samples
from zerotrain.diagnostic import Diagnostic, Severity
from zerotrain.engine.device import device_of, evaluating
from zerotrain.engine.errands import Errands, RunErrands, errand_intervals
from zerotrain.engine.evaluate import evaluate
from zerotrain.engine.health import Health, nonfinite_weights, read_past
from zerotrain.engine.hooks import Average, Evaluate, LogUpdates, Save
from zerotrain.engine.interruption import StopRequests
from zerotrain.engine.isolation import refuse_entangled, refuse_leaks
from zerotrain.engine.loop import Hook, Training
from zerotrain.engine.orders import Orders
from zerotrain.engine.pipeline import model_to_call
from zerotrain.engine.ranks import Ranks
from zerotrain.engine.receipt import Receipt
from zerotrain.engine.reduce import any_rank
from zerotrain.engine.rehearsal import rehearse_checkpoint
from zerotrain.engine.setup import ReadyEngine
from zerotrain.engine.state import TrainState
from zerotrain.engine.stragglers import FindStragglers
from zerotrain.engine.watch import Watch
from zerotrain.errors import CheckpointError
from zerotrain.hardware.gpus import find_gpu
from zerotrain.hardware.probe import surroundings
from zerotrain.hardware.software import versions
from zerotrain.hardware.topology import Topology
from zerotrain.modeling.batch_norm import average_statistics
from zerotrain.modeling.experts import with_room_for_all
from zerotrain.modeling.routers import RouterMeter, expert_layers
from zerotrain.modeling.teacher import Lesson, load_teacher
from zerotrain.modeling.unwrap import module_of
from zerotrain.monitor.console import Console
from zerotrain.monitor.hang import Watchdog
from zerotrain.monitor.meters import LoadingClock, Speed, StepClock
from zerotrain.monitor.sinks.base import Sink
from zerotrain.runs.catalogue import Checkpoint, Manifest, catalogue
from zerotrain.runs.history import curve, evaluations
from zerotrain.runs.identity import identity_hash
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import RunRecord
from zerotrain.spec.run import RunSpec
from zerotrain.spec.task import DistillTask
from zerotrain.tasks.base import Model, Pass, Start, Starting, Task, TaskContext
from zerotrain.tasks.distill import Distill
from zerotrain.tasks.masked_lm import MaskedLm
from zerotrain.tasks.next_token import NextToken
from zerotrain.tasks.table import TASKS
from zerotrain.units import Duration

_PEAKS = {"bf16": "bf16_flops", "autocast-bf16": "bf16_flops", "fp16": "fp16_flops", "fp32": "fp32_flops"}


@dataclass(frozen=True)
class Parts:
    """What the pieces of an attempt are made from."""

    run: RunDirectory
    record: RunRecord
    spec: RunSpec
    stores: Mapping[str, str | None]
    """Directories of the prepared data."""
    ranks: Ranks
    attempt: int
    console: Console
    requests: StopRequests
    watchdog: Watchdog | None
    errands: Errands

    @property
    def topology(self) -> Topology:
        """How the ranks share the axes."""
        return ranks_of(self.spec, self.ranks.world_size)

    def blank_manifest(self) -> Manifest:
        """Returns what the manifests of all checkpoints of this attempt have in common."""
        spec, record = self.spec, self.record
        return Manifest(
            *("", 0, 0, 0, 0.0),
            world_size=self.ranks.world_size,
            zero_stage=spec.zero.stage,
            dtype=spec.precision.dtype,
            convergence_hash=record.convergence_hash,
            files={},
            parallel=spec.parallel.model_dump(),
            identity_hash=identity_hash(spec, record.data),
            data_fingerprint=record.data.fingerprint,
            versions=versions(),
            seed=spec.seed,
            attempt=self.attempt,
        )


def assemble(
    parts: Parts,
    ready: ReadyEngine,
    average: WeightAverage | None,
    state: TrainState,
    checkpoint: Checkpoint | None,
    sink: Sink,
) -> Training:
    """Returns everything the loop needs. The untrained model is measured on the way, if the spec asks for it.

    Raises CheckpointError when the teacher is not the one the checkpoint was trained with.
    """
    spec, steps, clock = parts.spec, parts.record.steps, StepClock()
    task = _task(parts, ready.engine)
    teacher_checksum = frozen_checksum(task.teacher) if isinstance(task, Distill) else None
    if checkpoint is not None:
        refuse_other_teacher(checkpoint, teacher_checksum)
    if spec.data.packing == "isolated":
        _refuse_seen(parts, ready.engine, task)
    if isinstance(task, Starting):
        _begin(parts, ready.engine, task, state.step)
    watch = Watch(spec, steps, evaluations(parts.run, state.step), lambda: catalogue(parts.run)[0])
    routers = _routers(ready.engine)
    loading = LoadingClock(_beat(parts))
    loader, past = _loader(parts, str(parts.stores["train"]), loading), read_past(parts.run, state.step)
    hooks: list[Hook] = [
        LogUpdates(sink, clock, _speed(parts), parts.attempt, spec.monitor.every, steps, routers),
        Health(spec.health, ready.engine, loader, past, sink, parts.console, parts.attempt),
    ]
    if spec.health.straggler is not None and parts.ranks.world_size > 1:
        how = (spec.health.straggler, device_of(ready.engine), loading)
        hooks.append(FindStragglers(*how, sink, parts.console, clock, parts.attempt))
    if average is not None:
        hooks.append(Average(average))
    if parts.stores["validation"] is not None:
        measure, every = _measurement(parts, ready, average, task, parts.stores["validation"]), spec.evaluation.every
        measuring = Evaluate(measure, watch, sink, clock, parts.attempt, _steps(every), steps, routers)
        _make_up(measuring, parts, ready.engine, watch, state)
        hooks.append(measuring)
    saver = _saver(parts, ready, average, watch, teacher_checksum)
    if checkpoint is None and spec.checkpoint.at_start:
        parts.console.say("saving and loading a checkpoint, to see that it can be done")
        rehearse_checkpoint(saver, average, checkpoint_bytes(settle(spec, surroundings())))
    save = _saving(parts, ready, saver)
    intervals = [*errand_intervals(spec).values(), *filter(None, [_steps(spec.checkpoint.save_every)])]
    hooks.append(Save(save, watch, sink, clock, parts.attempt, intervals, steps))
    parts.errands.tidy = saver.remove_old
    hooks.append(RunErrands(parts.errands, steps, sink, parts.console))
    if checkpoint is not None:
        file = parts.run.attempt(parts.attempt) / "receipt.json" if parts.ranks.is_first else None
        hooks.append(Receipt(checkpoint.manifest.tag, loader, curve(parts.run), file, parts.console.say))
    clock.restart()
    orders = Orders(parts.run, spec.limits, is_first=parts.ranks.is_first)
    watching = (parts.requests, orders, parts.watchdog, past.left_out)
    return Training(spec, parts.topology, steps, ready, task, loader, state, hooks, *watching)


def _routers(engine: DeepSpeedEngine) -> RouterMeter | None:
    layers = expert_layers(module_of(engine))
    return RouterMeter(layers, device_of(engine)) if layers else None


def _make_up(measuring: Evaluate, parts: Parts, engine: DeepSpeedEngine, watch: Watch, state: TrainState) -> None:
    """Measures the untrained model if the spec asks for it, or what the attempt before was stopped short of."""
    is_missing = measuring.is_due(state.step) and state.step not in watch.evaluated
    if any_rank(parts.spec.evaluation.at_start if state.step == 0 else is_missing, device_of(engine)):
        measuring.now(state)


def _task(parts: Parts, engine: DeepSpeedEngine) -> Task:
    task, facts = parts.spec.task, parts.record.data
    teacher = _teacher(parts, engine, task) if isinstance(task, DistillTask) else None
    return TASKS[task.type](TaskContext(task, facts.labels, facts.vocab_size, teacher))


def _teacher(parts: Parts, engine: DeepSpeedEngine, task: DistillTask) -> Model:
    parts.console.say(f"loading the teacher `{task.teacher.pretrained}`")
    ds_config = json.loads(parts.run.ds_config.read_text(encoding="utf-8"))
    lesson = Lesson(task, parts.record.data.vocab_size, parts.spec.data.seq_len)
    return load_teacher(lesson, module_of(engine), ds_config, device_of(engine))


def _refuse_seen(parts: Parts, engine: DeepSpeedEngine, task: Task) -> None:
    """Raises EngineError when documents that are packed together see each other."""
    if isinstance(task, NextToken):
        _refuse_leaks(parts, engine, task)
    if isinstance(task, MaskedLm):
        _refuse_entangled(parts, engine, task)


def _refuse_leaks(parts: Parts, engine: DeepSpeedEngine, task: NextToken) -> None:
    with evaluating(engine), with_room_for_all(module_of(engine)):
        own = model_to_call(engine)
        for model in (own, task.teacher) if isinstance(task, Distill) else (own,):
            refuse_leaks(partial(task.logits, model), parts.record.data.vocab_size, device_of(engine))


def _refuse_entangled(parts: Parts, engine: DeepSpeedEngine, task: MaskedLm) -> None:
    vocabulary, device = parts.record.data.vocab_size, device_of(engine)
    with evaluating(engine):
        refuse_entangled(lambda arrays: task.logits(engine, Batch(arrays)), vocabulary, device)


def _begin(parts: Parts, engine: DeepSpeedEngine, task: Starting, step: int) -> None:
    limits = {"train": None, "validation": parts.spec.evaluation.max_samples}
    stores = {name: store for name, store in parts.stores.items() if name in limits and store is not None}
    device = device_of(engine)
    data = {name: _pass(parts, store, limits[name], device) for name, store in stores.items()}
    folder, fingerprint = parts.run.reference, parts.record.data.fingerprint
    with evaluating(engine):
        task.begin(Start(engine, device, step, folder, fingerprint, data, parts.ranks.is_first))


def _pass(parts: Parts, store: str, limit: int | None, device: torch.device) -> Pass:
    loader, samples = _loader(parts, store), len(open_samples(Path(store)))
    return Pass(min(samples, limit or samples), lambda: (micro.batch.to(device) for micro in loader.sequential(limit)))


def _beat(parts: Parts) -> Callable[[], None]:
    return parts.watchdog.beat if parts.watchdog else lambda: None


def _loader(parts: Parts, store: str, loading: LoadingClock | None = None) -> Loader:
    batch = parts.spec.batch
    return Loader(
        open_samples(Path(store)),
        seed=parts.spec.seed,
        global_batch_size=batch.global_batch_size,
        micro_batch_size=batch.micro_batch_size,
        dp_rank=parts.topology.dp_rank(parts.ranks.rank),
        dp_size=parts.topology.dp,
        sp_rank=parts.topology.sp_rank(parts.ranks.rank),
        sp_size=parts.topology.sp,
        reading=loading or LoadingClock(_beat(parts)),
    )


def _measurement(
    parts: Parts, ready: ReadyEngine, average: WeightAverage | None, task: Task, store: str
) -> Callable[[], dict[str, float]]:
    loader, limit, ema = _loader(parts, store), parts.spec.evaluation.max_samples, parts.spec.ema

    def measure() -> dict[str, float]:
        metrics = evaluate(ready.engine, task, loader, limit, parts.run.classification_report)
        if average is None or ema is None or not ema.evaluate:
            return metrics
        with average.in_force():
            averaged = evaluate(ready.engine, task, loader, limit)
        return metrics | {f"ema_{name}": value for name, value in averaged.items()}

    return measure


def _saver(
    parts: Parts, ready: ReadyEngine, average: WeightAverage | None, watch: Watch, teacher_checksum: str | None
) -> Saver:
    spec = parts.spec
    keep = Retention(spec.checkpoint.keep_last, watch.best)
    frozen = frozen_checksum(ready.engine) if spec.model.adapter else None
    blank = replace(parts.blank_manifest(), frozen_checksum=frozen, teacher_checksum=teacher_checksum)
    shard = parts.topology.tp_rank(parts.ranks.rank) if spec.parallel.ep == 1 else None
    return Saver(parts.run, ready.engine, keep, blank, average, shard, spec.checkpoint.asynchronous)


def _saving(parts: Parts, ready: ReadyEngine, saver: Saver) -> Callable[[TrainState], None]:
    """Returns what saves; a checkpoint that cannot be written ends the run only if it is the last."""
    record = parts.record

    def save(state: TrainState) -> None:
        average_statistics(module_of(ready.engine))
        if broken := nonfinite_weights(ready.engine):
            raise CheckpointError(broken)
        position = Position(state.step, state.samples, state.tokens, state.loss, state.lr)
        before, now = saver.save(position, is_last=state.is_over(record.steps))
        if now is not None and state.is_over(record.steps):
            raise CheckpointError(_as_error(now))
        for unsaved in filter(None, (before, now)):
            parts.console.say(f"warning[{unsaved.code}] {unsaved.name}: {unsaved.message}; {unsaved.help}")

    return save


def _as_error(finding: Diagnostic) -> Diagnostic:
    help = "free some space, then `zerotrain resume`"
    return Diagnostic(finding.code, finding.name, Severity.ERROR, finding.message, help=help)


def _speed(parts: Parts) -> Speed:
    spec = parts.spec
    shape, gpu = settle(spec, surroundings()).shape, find_gpu(spec.hardware.gpu)
    length = spec.data.seq_len
    flops = forward_backward_flops_per_token(shape, length) if shape and length else None
    peak = getattr(gpu, _PEAKS[spec.precision.dtype]) if gpu else None
    return Speed(flops, peak, parts.ranks.world_size)


def _steps(length: Duration | None) -> int | None:
    return length.value if length else None
