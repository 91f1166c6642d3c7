"""The whole file: one run."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator

from zerotrain.spec.base import (
    Auto,
    Beta,
    Bool,
    Length,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    RawKeys,
    Spec,
)
from zerotrain.spec.data import DataSpec
from zerotrain.spec.health import HealthSpec
from zerotrain.spec.launch import LaunchSpec, LocalLaunch
from zerotrain.spec.model import ModelSpec
from zerotrain.spec.moe import MoeSpec
from zerotrain.spec.parallelism import (
    ActivationCheckpointingField,
    ActivationCheckpointingSpec,
    CompileField,
    CompileSpec,
    HardwareSpec,
    ParallelSpec,
    TilingSpec,
    ZeroSpec,
)
from zerotrain.spec.task import PretrainTask, TaskSpec
from zerotrain.spec.training import BatchSpec, OptimizerSpec, PrecisionField, PrecisionSpec, ScheduleSpec
from zerotrain.units import parse_count

SHORT_FORMS = {"precision": "dtype", "activation_checkpointing": "granularity", "compile": "method"}
"""Sections that may be written as the value of one of their keys."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LONGEST_NAME = 100


def _plain_name(name: str) -> str:
    if len(name) > _LONGEST_NAME:
        raise ValueError(f"`{name[:20]}…` cannot name a directory; use at most {_LONGEST_NAME} characters")
    if not _NAME.fullmatch(name):
        raise ValueError(f"`{name.strip()}` cannot name a directory; use letters, digits, `.`, `_` and `-`")
    return name


Direction = Literal["min", "max"]


class KeepBestSpec(Spec):
    """The checkpoint of the step with the best evaluation is kept, and saved if no save is due."""

    metric: str = "loss"
    """Name of the metric, as the evaluation reports it."""
    mode: Direction | Auto = "auto"
    """Whether less or more is better; `auto`: less of a loss or a perplexity, more of anything else."""


class CheckpointSpec(Spec):
    """When the state of the run is saved. The last step is always saved."""

    save_every: Length | None = None
    """Interval between checkpoints; `null`: only at the end."""
    keep_last: PositiveInt = 2
    """Newest checkpoints that are kept."""
    keep_best: KeepBestSpec | None = None
    """Keep the checkpoint of the best evaluation too; `null`: only the newest ones."""
    at_start: Bool = False
    """Save a checkpoint before the first step and load it, so that a path, a quota or a permission that does not do is
    found at once. It is removed again."""
    asynchronous: Bool = False
    """Go on training while a checkpoint is written: ranks wait only for a copy in host memory, which must have room for
    all of it. The last checkpoint of an attempt is waited for."""
    verify: Literal["sizes", "full"] = "sizes"
    """What is compared with its manifest before a checkpoint is loaded: the sizes of its files, or, reading all of it
    once more, their checksums too."""


class EarlyStoppingSpec(Spec):
    """Training ends when a metric has not improved for some evaluations in a row."""

    metric: str = "loss"
    """Name of the metric, as the evaluation reports it."""
    mode: Direction | Auto = "auto"
    """Whether less or more is better; `auto`: less of a loss or a perplexity, more of anything else."""
    patience: PositiveInt = 3
    """Evaluations in a row without an improvement after which training stops."""
    min_delta: NonNegativeFloat = 0.0
    """Only a change by more than this counts as an improvement."""


class EvaluationSpec(Spec):
    """When the validation data is measured. The last step is always measured."""

    every: Length | None = None
    """Interval between evaluations; `null`: only at the end."""
    at_start: Bool = False
    """Measure the untrained model too."""
    max_samples: PositiveInt | None = None
    """Use only the first so many validation samples."""
    early_stopping: EarlyStoppingSpec | None = None
    """Stop when a metric no longer improves; `null`: never."""


class EmaSpec(Spec):
    """An exponential moving average of the weights, kept in fp32 beside the optimizer's own and divided as they are.

    It takes 4 bytes per parameter more, and begins with the weights that training begins with.
    """

    decay: Beta = 0.999
    """Part of the average that stays when weights enter it: average = decay x average + (1 - decay) x weights."""
    warmup: Bool = True
    """Begin with a smaller decay, min(decay, (1 + t) / (10 + t)) at the t-th time, so that the start is forgotten."""
    every: PositiveInt = 1
    """Updates from one time that weights enter the average to the next; skipped updates do not count."""
    evaluate: Bool = False
    """Measure the average as well; its metrics have the prefix `ema_`."""


class LimitsSpec(Spec):
    """Time after which the run ends, with an evaluation, a checkpoint and its export; more of it lets the run go on."""

    hours: PositiveFloat | None = None
    """Wall-clock hours of all attempts together, from their start; `null`: as long as it takes."""
    gpu_hours: PositiveFloat | None = None
    """The same times the ranks; `null`: as much as it takes."""


class MonitorSpec(Spec):
    """Where metrics go. `metrics.jsonl` is always written."""

    tensorboard: Bool = False
    """Write event files to `tensorboard/` in the run directory."""
    every: PositiveInt = 1
    """Optimizer steps between two lines of metrics."""


class SampleSpec(Spec):
    """Text generated from the exported weights, to see what was learned."""

    prompts: list[str]
    """What to continue."""
    max_new_tokens: PositiveInt = 64
    """Length of each continuation."""


class ExportSpec(Spec):
    """Hugging Face weights written at the end of training."""

    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Format of the weights; `auto`: the training dtype."""
    checkpoint: Literal["last", "best"] = "last"
    """Which checkpoint is exported: the newest, or the one `checkpoint.keep_best` keeps."""
    weights: Literal["auto", "model", "ema"] = "auto"
    """The weights that were trained or their average; `auto`: the average if the run has an `ema` section."""
    adapter: Literal["merged", "alone"] = "merged"
    """Of a run with an adapter: `merged` writes the whole model with the adapter in its weights, which loads without
    anything else; `alone` writes the adapter as peft reads it, a small file that needs the weights the run started
    from."""
    sample: SampleSpec | None = None
    """Generate text from the exported weights."""
    every: Length | None = None
    """Interval between further exports, to `exports/step-N`, which another process makes while training goes on; a
    checkpoint of the step is saved for each. `null`: only at the end."""
    keep_last: PositiveInt = 2
    """Newest of these further exports that are kept."""


class ArchiveSpec(Spec):
    """A copy of the run at another place, which outlives this machine. Another process makes it while training goes on.

    The place is never tidied up: every checkpoint that was copied stays.
    """

    to: str
    """Directory, or URL of anything that fsspec opens, such as `s3://bucket/runs`; the run gets a directory of its name
    there. Credentials come from the environment."""
    every: Length | None = None
    """Interval between checkpoints that are copied; `null`: only the last of each attempt."""
    exports: Bool = True
    """Copy exports too."""


def _count(value: str | int) -> str | int:
    parse_count(value)
    return value


Quantity = Annotated[str | int, AfterValidator(_count)]
"""A whole number as precise as it is written: `512`, `10B`, `6.74B`."""


class ExpectSpec(Spec):
    """What the run must come to, checked with everything else: a config's own unit test."""

    world_size: PositiveInt | None = None
    """Ranks."""
    data_parallel_size: PositiveInt | None = None
    """Ranks that see different samples."""
    global_batch_size: PositiveInt | None = None
    """Samples per optimizer step."""
    gradient_accumulation_steps: PositiveInt | None = None
    """Micro-batches per optimizer step on one rank."""
    steps: PositiveInt | None = None
    """Optimizer steps of the whole run."""
    tokens: Quantity | None = None
    """Tokens of the whole run, as precise as they are written: `10B`."""
    parameters: Quantity | None = None
    """Parameters of the model, as precise as they are written: `7B`."""


class SoftwareSpec(Spec):
    """The software the run is meant for."""

    deepspeed: str | None = None
    """DeepSpeed version whose verdict is predicted, such as `0.18.9`; `null`: the one zerotrain is tested with."""


class RunSpec(Spec):
    """One run."""

    name: Annotated[str, AfterValidator(_plain_name)]
    """Name of the run; its directory is `runs/<name>`."""
    seed: NonNegativeInt = 1234
    """Seed of initial weights, order of samples and dropout."""
    model: ModelSpec
    task: TaskSpec = PretrainTask()
    data: DataSpec
    batch: BatchSpec
    horizon: Length
    """Length of training: `200 steps`, `3 epochs`, `2B tokens`."""
    optimizer: OptimizerSpec
    schedule: ScheduleSpec
    precision: PrecisionField = PrecisionSpec()
    zero: ZeroSpec = ZeroSpec()
    parallel: ParallelSpec = ParallelSpec()
    moe: MoeSpec | None = None
    """Give a dense decoder experts; `null`: the model as it is."""
    activation_checkpointing: ActivationCheckpointingField = ActivationCheckpointingSpec()
    tiling: TilingSpec = TilingSpec()
    compile: CompileField = CompileSpec()
    checkpoint: CheckpointSpec = CheckpointSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    ema: EmaSpec | None = None
    """Average the weights over the updates; `null`: no average."""
    health: HealthSpec = HealthSpec()
    monitor: MonitorSpec = MonitorSpec()
    limits: LimitsSpec = LimitsSpec()
    export: ExportSpec | None = None
    """Export at the end of training; `null`: only on request."""
    archive: ArchiveSpec | None = None
    """Copy checkpoints and exports to another place; `null`: they stay in the run directory."""
    hardware: HardwareSpec = HardwareSpec()
    launch: LaunchSpec = LocalLaunch(type="local")
    software: SoftwareSpec = SoftwareSpec()
    expect: ExpectSpec = ExpectSpec()
    deepspeed: RawKeys = {}
    """Raw DeepSpeed keys for what has no field; may not overwrite a compiled key."""
