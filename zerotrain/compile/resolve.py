"""Settles everything a spec leaves open: no `auto`, no epochs, no relative path is left after this."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from zerotrain.arch.describe import dropout_keys
from zerotrain.arch.shape import ModelShape
from zerotrain.compile.config_keys import class_keys, image_keys, reward_keys, special_tokens
from zerotrain.compile.facts import DataFacts
from zerotrain.compile.vocabulary import vocabulary_size
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import SpecError
from zerotrain.hardware.gpus import find_gpu
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.hardware.topology import Topology, topology_of
from zerotrain.spec.base import Spec
from zerotrain.spec.data import PretrainedTokenizer
from zerotrain.spec.launch import DeepSpeedLaunch, LaunchSpec, TorchrunLaunch
from zerotrain.spec.load import UnreadSection
from zerotrain.spec.pretrained import is_hub_id
from zerotrain.spec.run import EarlyStoppingSpec, KeepBestSpec, RunSpec
from zerotrain.spec.sources import FOLDER_SIGNS
from zerotrain.spec.task import DistillTask
from zerotrain.units import Duration, TimeSpan

_SMALLEST_BUCKET = 2_000_000
_LARGEST_BUCKET = 500_000_000
_USUAL_HIDDEN_SIZE = 4096


@dataclass(frozen=True)
class Resolved:
    """A spec with nothing left to settle, and how each value that was open came about."""

    spec: RunSpec
    topology: Topology
    shape: ModelShape | None
    steps: int | None
    """Optimizer steps; None while the horizon is in epochs and the data is not prepared."""
    derivations: Mapping[str, str] = field(default_factory=dict)
    """Dotted key to the sentence that derives it."""
    written: frozenset[str] = frozenset()
    """Dotted keys that stand in the spec; the others have their defaults."""
    trainable_parameters: int | None = None
    """Parameters that are trained, those of an adapter among them; None while the model is unknown."""


def resolve(
    spec: RunSpec,
    surroundings: Surroundings,
    *,
    shape: ModelShape | None = None,
    world_size: int | None = None,
    facts: DataFacts | None = None,
) -> Resolved:
    """Returns the spec with every open value settled.

    `shape` gives bucket sizes; `facts` give the length of an epoch and the special tokens. Raises SpecError with
    everything that has no solution.
    """
    resolved, problems = draft(spec, surroundings, shape=shape, world_size=world_size, facts=facts)
    if problems:
        raise SpecError(*problems)
    return resolved


def draft(
    spec: RunSpec,
    surroundings: Surroundings,
    *,
    shape: ModelShape | None = None,
    world_size: int | None = None,
    facts: DataFacts | None = None,
) -> tuple[Resolved, list[Diagnostic]]:
    """Returns the spec settled as far as it has a solution and could be read, and what has none.

    Raises UnreadSection when the number of ranks could not be read.
    """
    topology = ranks_of(spec, world_size)
    settling = _Settling(spec, surroundings, topology, shape, facts)
    updates = {name: value for name, settle in _SECTIONS.items() for value in _read(settle, settling)}
    steps = next(_read(_Settling.steps, settling), None)
    settled = spec.model_copy(update=updates)
    resolved = Resolved(settled, topology, shape, steps, settling.derivations, frozenset(written_keys(spec)))
    return resolved, settling.problems


def ranks_of(spec: RunSpec, world_size: int | None = None) -> Topology:
    """Returns the ranks of a spec; a `world_size` stays on one machine when the launcher cannot reach others."""
    return topology_of(spec.hardware, spec.parallel, world_size, one_machine=is_on_one_machine(spec.launch))


def is_on_one_machine(launch: LaunchSpec) -> bool:
    """Tells whether a launcher starts ranks on this machine only."""
    return launch.type == "local" or (isinstance(launch, TorchrunLaunch) and launch.endpoint is None)


def written_keys(section: Spec, prefix: str = "") -> Iterator[str]:
    """Yields the dotted keys of a section that were given a value, and of the sections in it."""
    for name in section.model_fields_set:
        key, value = f"{prefix}{name}", getattr(section, name)
        yield key
        if isinstance(value, Spec):
            yield from written_keys(value, f"{key}.")


def _read(settle: Callable[[_Settling], Any], settling: _Settling) -> Iterator[Any]:
    """Yields what is settled, or nothing when the section could not be read."""
    try:
        yield settle(settling)
    except UnreadSection:
        return


class _Settling:
    """One pass over a spec; each method settles one section and notes how."""

    def __init__(
        self, spec: RunSpec, around: Surroundings, topology: Topology, shape: ModelShape | None, facts: DataFacts | None
    ) -> None:
        self.spec, self.around, self.topology, self.shape, self.facts = spec, around, topology, shape, facts
        self.problems: list[Diagnostic] = []
        self.derivations: dict[str, str] = {}

    def _settle(self, key: str, given: Any, value: Any, why: str) -> Any:
        """Returns `given`, or `value` with its derivation when `given` is open."""
        if given not in ("auto", None):
            return given
        self.derivations[key] = why
        return value

    def batch(self) -> Spec:
        batch, dp = self.spec.batch, self.topology.dp
        lot = batch.micro_batch_size * dp
        steps = batch.global_batch_size // lot if lot else 0
        given = batch.gradient_accumulation_steps
        if dp == 0 or self.topology.world_size % self.topology.model_parallel_size:
            self.problems.append(_unfilled_axes(self.topology))
        elif batch.global_batch_size % lot:
            self.problems.append(_indivisible(batch.global_batch_size, batch.micro_batch_size, dp))
        elif given not in ("auto", steps):
            self.problems.append(_contradicting(batch.global_batch_size, batch.micro_batch_size, given, dp))
        why = f"{batch.global_batch_size} / ({batch.micro_batch_size} per rank x {dp} data-parallel ranks)"
        value = self._settle("batch.gradient_accumulation_steps", given, steps, why)
        return batch.model_copy(update={"gradient_accumulation_steps": value})

    def steps(self) -> int | None:
        return self._in_steps(self.spec.horizon)

    def horizon(self) -> Duration | None:
        return self._length("horizon", self.spec.horizon)

    def schedule(self) -> Spec:
        schedule = self.spec.schedule
        lengths = {name: length for name, length in schedule if isinstance(length, Duration)}
        return schedule.model_copy(
            update={name: self._length(f"schedule.{name}", length) for name, length in lengths.items()}
        )

    def checkpoint(self) -> Spec:
        checkpoint = self.spec.checkpoint
        update = {
            "save_every": self._length("checkpoint.save_every", checkpoint.save_every),
            "keep_best": self._direction("checkpoint.keep_best", checkpoint.keep_best),
        }
        return checkpoint.model_copy(update=update)

    def evaluation(self) -> Spec:
        evaluation = self.spec.evaluation
        update = {
            "every": self._length("evaluation.every", evaluation.every),
            "early_stopping": self._direction("evaluation.early_stopping", evaluation.early_stopping),
        }
        return evaluation.model_copy(update=update)

    def _direction(self, key: str, aim: EarlyStoppingSpec | KeepBestSpec | None) -> Spec | None:
        if aim is None:
            return None
        mode, why = ("min", "less") if _falls(aim.metric) else ("max", "more")
        settled = self._settle(f"{key}.mode", aim.mode, mode, f"{why} of `{aim.metric}` is better")
        return aim.model_copy(update={"mode": settled})

    def _length(self, key: str, length: Duration | None) -> Duration | None:
        steps = self._in_steps(length) if length else None
        if length is None or steps is None or length.unit == "steps":
            return length
        batch, seq_len = self.spec.batch.global_batch_size, self.spec.data.seq_len
        samples = self.facts.train_samples if self.facts else 0
        per_step = f"{batch} samples" if length.unit == "epochs" else f"{batch} samples x {seq_len} tokens"
        whole = f"{length.value} x {samples} samples" if length.unit == "epochs" else str(length)
        self.derivations[key] = f"{whole} / {per_step} per step, rounded up"
        return Duration.steps(steps)

    def _in_steps(self, length: Duration) -> int | None:
        batch = self.spec.batch.global_batch_size
        if length.unit == "steps":
            return length.value
        if length.unit == "tokens":
            seq_len = self.spec.data.seq_len
            return -(-length.value // (batch * seq_len)) if seq_len else None
        return -(-length.value * self.facts.train_samples // batch) if self.facts else None

    def precision(self) -> Spec:
        precision = self.spec.precision
        at_stage_0 = self.spec.zero.stage == 0 and precision.dtype in ("bf16", "fp16")
        usual = precision.dtype if at_stage_0 else "fp32"
        why = (
            f"at ZeRO stage 0 DeepSpeed accumulates in the dtype of the weights, `{precision.dtype}`"
            if at_stage_0
            else "gradients of many micro-batches and ranks are summed without loss in fp32"
        )
        accumulate = self._settle("precision.grad_accum_dtype", precision.grad_accum_dtype, usual, why)
        why = f"the same as `precision.grad_accum_dtype`, `{accumulate}`"
        travel = self._settle("precision.communication_dtype", precision.communication_dtype, accumulate, why)
        return precision.model_copy(update={"grad_accum_dtype": accumulate, "communication_dtype": travel})

    def zero(self) -> Spec:
        zero = self.spec.zero
        hidden = self.shape.hidden_size if self.shape else _USUAL_HIDDEN_SIZE
        bucket = min(max(hidden * hidden, _SMALLEST_BUCKET), _LARGEST_BUCKET)
        gpu = find_gpu(self.spec.hardware.gpu)
        on_gpu = gpu is None or not gpu.host
        overlap = (on_gpu, f"hardware is `{self.spec.hardware.gpu}`")
        if self.topology.pp > 1:
            overlap = (False, "a pipeline reduces gradients once, after its last micro-batch")
        square = f"hidden_size {hidden} squared"
        values = {
            "overlap_comm": overlap,
            "reduce_bucket_size": (bucket, f"{square}, at least {_SMALLEST_BUCKET}, at most {_LARGEST_BUCKET}"),
            "prefetch_bucket_size": (9 * hidden * hidden // 10, f"0.9 x {square}"),
            "param_persistence_threshold": (10 * hidden, f"10 x hidden_size {hidden}"),
        }
        updates = {name: self._settle(f"zero.{name}", getattr(zero, name), *how) for name, how in values.items()}
        even = updates["reduce_bucket_size"] // 2 * 2
        why = "the same as `zero.reduce_bucket_size`, made even, as DeepSpeed asks"
        updates["allgather_bucket_size"] = self._settle(
            "zero.allgather_bucket_size", zero.allgather_bucket_size, even, why
        )
        return zero.model_copy(update=updates)

    def export(self) -> Spec | None:
        export, dtype = self.spec.export, self.spec.precision.dtype
        if export is None:
            return None
        usual = dtype if dtype in ("bf16", "fp16") else "fp32"
        weights, why = ("ema", "the run has an `ema` section") if self.spec.ema else ("model", "`ema` is null")
        update = {
            "dtype": self._settle("export.dtype", export.dtype, usual, f"`precision.dtype` is `{dtype}`"),
            "weights": self._settle("export.weights", export.weights, weights, why),
            "every": self._length("export.every", export.every),
        }
        return export.model_copy(update=update)

    def archive(self) -> Spec | None:
        archive = self.spec.archive
        return archive and archive.model_copy(update={"every": self._length("archive.every", archive.every)})

    def hardware(self) -> Spec:
        hardware, topology = self.spec.hardware, self.topology
        gpu = find_gpu(hardware.gpu)
        update = {"num_nodes": topology.num_nodes, "gpus_per_node": topology.gpus_per_node}
        return hardware.model_copy(update=update | {"gpu": gpu.name if gpu else hardware.gpu})

    def launch(self) -> Spec:
        launch = self.spec.launch
        if isinstance(launch, DeepSpeedLaunch) and launch.hostfile is not None:
            return launch.model_copy(update={"hostfile": str(self.around.path(launch.hostfile))})
        if isinstance(launch, TorchrunLaunch):
            usual, why = ("c10d", "ranks may start again") if launch.max_restarts else ("static", "ranks start once")
            rendezvous = self._settle("launch.rendezvous", launch.rendezvous, usual, why)
            return launch.model_copy(update={"rendezvous": rendezvous})
        return launch

    def health(self) -> Spec:
        health, seconds = self.spec.health, self.spec.launch.timeout.seconds * 2 // 3
        if health.hang != "auto":
            return health
        limit = TimeSpan.parse(f"{max(seconds, 1)} seconds")
        hang = self._settle("health.hang", health.hang, limit, "two thirds of `launch.timeout`")
        return health.model_copy(update={"hang": hang})

    def model(self) -> Spec:
        model, facts = self.spec.model, self.facts
        facts_keys = reward_keys(self.spec, facts) | (class_keys(facts) if facts else {})
        config = facts_keys | self._dropout() | model.config
        if model.architecture is None:
            return model.model_copy(update={"config": config})
        for key, value in image_keys(self.spec).items():
            if key not in config:
                config[key] = value
                self.derivations[f"model.config.{key}"] = "as `data.image` says"
        vocabulary = vocabulary_size(self.spec, facts)
        if vocabulary is not None and "vocab_size" not in config:
            config["vocab_size"] = vocabulary
            self.derivations["model.config.vocab_size"] = "the size of the tokenizer's vocabulary"
        if facts is not None:
            config = special_tokens(facts) | config
        return model.model_copy(update={"config": config})

    def task(self) -> Spec:
        task, dtype = self.spec.task, self.spec.precision.dtype
        if not isinstance(task, DistillTask):
            return task
        name, folder = task.teacher.pretrained, self.around.path(task.teacher.pretrained)
        usual = "bf16" if dtype in ("bf16", "autocast-bf16") else "fp32"
        why = f"`precision.dtype` is `{dtype}`"
        update = {
            "pretrained": name if is_hub_id(name, folder) else str(folder),
            "dtype": self._settle("task.teacher.dtype", task.teacher.dtype, usual, why),
        }
        return task.model_copy(update={"teacher": task.teacher.model_copy(update=update)})

    def _dropout(self) -> dict[str, float]:
        """Returns the architecture's dropout keys with the one value for all of them, but for those that are given."""
        model = self.spec.model
        if model.dropout is None or self.shape is None:
            return {}
        keys = [key for key in dropout_keys(self.shape.architecture) if key not in model.config]
        self.derivations |= {f"model.config.{key}": f"`model.dropout` is {model.dropout}" for key in keys}
        return dict.fromkeys(keys, model.dropout)

    def data(self) -> Spec:
        data = self.spec.data
        cache = str(self.around.cache / "data" if data.cache == "auto" else self.around.path(data.cache))
        tokenizer = data.tokenizer
        if isinstance(tokenizer, PretrainedTokenizer) and tokenizer.path is None:
            tokenizer = tokenizer.model_copy(update={"path": self.spec.model.pretrained})
        return data.model_copy(
            update={
                "cache": cache,
                "tokenizer": tokenizer,
                "train": [self._source(source) for source in data.train],
                "validation": [self._source(source) for source in data.validation],
            }
        )

    def _source(self, source: Any) -> Any:
        names = {"path": getattr(source, "path", None), "id": getattr(source, "id", None)}
        local = {key: name for key, name in names.items() if name and (key == "path" or name.startswith(FOLDER_SIGNS))}
        folders = {key: str(self.around.path(name)) for key, name in local.items()}
        return source.model_copy(update=folders)


_SECTIONS: Mapping[str, Callable[[_Settling], Any]] = {
    "model": _Settling.model,
    "task": _Settling.task,
    "data": _Settling.data,
    "batch": _Settling.batch,
    "precision": _Settling.precision,
    "zero": _Settling.zero,
    "export": _Settling.export,
    "archive": _Settling.archive,
    "hardware": _Settling.hardware,
    "launch": _Settling.launch,
    "health": _Settling.health,
    "horizon": _Settling.horizon,
    "schedule": _Settling.schedule,
    "checkpoint": _Settling.checkpoint,
    "evaluation": _Settling.evaluation,
}


def _falls(metric: str) -> bool:
    """Tells whether less of a metric is better, by its name: `loss`, `ema_loss`, `perplexity`."""
    return metric.rpartition("_")[2] in ("loss", "perplexity")


def _unfilled_axes(topology: Topology) -> Diagnostic:
    axes = f"tp {topology.tp} x pp {topology.pp} x sp {topology.sp} = {topology.model_parallel_size}"
    message = f"a world size of {topology.world_size} is not a multiple of {axes}"
    help = f"use a multiple of {topology.model_parallel_size} ranks, or smaller degrees"
    return error("ZT401", "unfilled-axes", message, help=help, key="parallel")


def _indivisible(batch: int, micro: int, dp: int) -> Diagnostic:
    lot = micro * dp
    below, above = batch // lot * lot, -(-batch // lot) * lot
    message = f"{batch} is not a multiple of {lot} ({micro} per rank x {dp} data-parallel ranks)"
    help = f"use {below} or {above}" if below else f"use {above}, or a smaller micro-batch"
    return error("ZT101", "indivisible-global-batch", message, help=help, key="batch.global_batch_size")


def _contradicting(batch: int, micro: int, accumulation: int | str, dp: int) -> Diagnostic:
    lot = micro * dp
    message = f"{micro} per rank x {accumulation} steps x {dp} ranks is {lot * int(accumulation)}, not {batch}"
    help = f"use {batch // lot}, or leave it `auto`"
    return error("ZT102", "contradicting-batch", message, help=help, key="batch.gradient_accumulation_steps")
