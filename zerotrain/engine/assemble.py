"""The pieces of a run put together: task, data, hooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deepspeed import DeepSpeedEngine

from zerotrain.arch.flops import forward_backward_flops_per_token
from zerotrain.checkpoint.frozen import frozen_checksum
from zerotrain.checkpoint.save import Position, Saver
from zerotrain.compile.model import settle
from zerotrain.data.loader import Loader
from zerotrain.data.stores.table import open_samples
from zerotrain.diagnostic import Diagnostic, Severity
from zerotrain.engine.device import device_of
from zerotrain.engine.evaluate import evaluate
from zerotrain.engine.hooks import Evaluate, LogUpdates, Save
from zerotrain.engine.isolation import refuse_leaks
from zerotrain.engine.loop import Hook, Training
from zerotrain.engine.ranks import Ranks
from zerotrain.engine.setup import ReadyEngine
from zerotrain.engine.state import TrainState
from zerotrain.errors import CheckpointError
from zerotrain.hardware.gpus import find_gpu
from zerotrain.hardware.probe import surroundings
from zerotrain.monitor.console import Console
from zerotrain.monitor.meters import Speed, StepClock
from zerotrain.monitor.sinks.base import Sink
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import RunRecord
from zerotrain.spec.run import RunSpec
from zerotrain.tasks.base import Task, TaskContext
from zerotrain.tasks.pretrain import Pretrain
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


def assemble(parts: Parts, ready: ReadyEngine, state: TrainState, sink: Sink) -> Training:
    """Returns everything the loop needs. The untrained model is measured on the way, if the spec asks for it."""
    spec, steps, clock = parts.spec, parts.record.steps, StepClock()
    task = TASKS[spec.task.type](TaskContext(spec.task, parts.record.data.labels))
    if isinstance(task, Pretrain) and spec.data.packing == "isolated":
        _refuse_leaks(parts, ready.engine, task)
    hooks: list[Hook] = [LogUpdates(sink, clock, _speed(parts), parts.attempt, spec.monitor.every, steps)]
    if parts.stores["validation"] is not None:
        measuring = Evaluate(
            _measurement(parts, ready, task, parts.stores["validation"]),
            sink,
            clock,
            parts.attempt,
            _steps(spec.evaluation.every),
            steps,
        )
        if spec.evaluation.at_start and state.step == 0:
            measuring.now(state)
        hooks.append(measuring)
    hooks.append(Save(_saving(parts, ready), clock, _steps(spec.checkpoint.save_every), steps))
    loader = _loader(parts, str(parts.stores["train"]))
    clock.restart()
    return Training(spec, steps, ready, task, loader, state, hooks)


def _refuse_leaks(parts: Parts, engine: DeepSpeedEngine, task: Pretrain) -> None:
    engine.eval()
    refuse_leaks(partial(task.logits, engine), parts.record.data.vocab_size, device_of(engine))
    engine.train()


def _loader(parts: Parts, store: str) -> Loader:
    batch = parts.spec.batch
    return Loader(
        open_samples(Path(store)),
        seed=parts.spec.seed,
        global_batch_size=batch.global_batch_size,
        micro_batch_size=batch.micro_batch_size,
        dp_rank=parts.ranks.rank,
        dp_size=parts.ranks.world_size,
    )


def _measurement(parts: Parts, ready: ReadyEngine, task: Task, store: str) -> Callable[[], dict[str, float]]:
    loader, limit = _loader(parts, store), parts.spec.evaluation.max_samples
    return lambda: evaluate(ready.engine, task, loader, limit)


def _saving(parts: Parts, ready: ReadyEngine) -> Callable[[TrainState], None]:
    """Returns what saves; a checkpoint that cannot be written ends the run only if it is the last."""
    spec, record = parts.spec, parts.record
    saver = Saver(
        parts.run,
        ready.engine,
        spec.checkpoint.keep_last,
        spec.precision.dtype,
        record.convergence_hash,
        frozen_checksum(ready.engine) if spec.model.adapter else None,
    )

    def save(state: TrainState) -> None:
        unsaved = saver.save(Position(state.step, state.samples, state.tokens))
        if unsaved is not None and state.step == record.steps:
            raise CheckpointError(_as_error(unsaved))
        if unsaved is not None:
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
