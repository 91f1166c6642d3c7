"""The installed DeepSpeed reads every value we compile, as we mean it."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from deepspeed import comm
from deepspeed.runtime.config import DeepSpeedConfig
from pydantic import ValidationError

from zerotrain.check.case import Case
from zerotrain.compile.dsconfig import Target
from zerotrain.compile.emit import compile_spec
from zerotrain.engine.inforce import values_in_force
from zerotrain.engine.recorder import RecordingDict
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.spec.load import load_spec

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "golden" / "tiny.yaml"
AROUND = Surroundings(directory=Path("/work-dir"), cache=Path("/cache-dir"))
CONFIGS = sorted((ROOT / "ds_configs").glob("*.json"))

TARGETS: tuple[Target, ...] = ("zerotrain", "deepspeed", "hf", "accelerate")
PRECISIONS = (
    "fp32",
    "bf16",
    "fp16",
    "autocast-bf16",
    "{dtype: bf16, grad_accum_dtype: bf16, communication_dtype: fp32}",
    "{dtype: fp16, loss_scale: 1024}",
    "{dtype: fp16, loss_scale: {initial_scale_power: 8, window: 5, hysteresis: 3, min_scale: 2}}",
)
OPTIMIZERS = (
    "{type: adam, lr: 0.1}",
    "{type: adamw, lr: 0.1, betas: [0.8, 0.9], clip_norm: 0.3}",
    "{type: adagrad, lr: 0.1, clip_norm: null}",
    "{type: sgd, lr: 0.1, momentum: 0.9}",
    "{type: lion, lr: 0.1}",
    "{type: lamb, lr: 0.1}",
    "{type: muon, lr: 0.1, adam_lr: 0.01}",
)
SCHEDULES = (
    "{type: constant}",
    "{type: constant, warmup: 5 steps}",
    "{type: linear, warmup: 5 steps, min_lr_ratio: 0.1}",
    "{type: cosine, warmup: 5 steps, min_lr_ratio: 0.1}",
)
OFFLOADS = (
    "",
    "offload_optimizer: {device: cpu}",
    "offload_optimizer: {device: cpu, pin_memory: false}",
    "offload_param: {device: cpu}",
    "offload_optimizer: {device: cpu}, offload_param: {device: cpu, pin_memory: false}",
)
CHECKPOINTINGS = (
    "none",
    "full",
    "{granularity: full, implementation: deepspeed}",
    "{granularity: full, implementation: deepspeed, cpu_checkpointing: true, partition_activations: true}",
)

INSIDE_PYDANTIC = (
    "zero_optimization.offload_optimizer.",
    "zero_optimization.offload_param.",
    "tensorboard.",
    "pipeline.",
)
"""Sections that are read in one piece, without asking the dictionary; their values are compared instead."""

KEPT = ("optimizer.params.", "scheduler.params.", "tensor_parallel.partition_config.")
"""Sections the parser keeps for the engine, which hands them to the optimizer, the scheduler and AutoTP."""

READ_ELSEWHERE = {
    "data_parallel_size": "deepspeed.initialize, to make a mesh of devices",
    "sequence_parallel_size": "deepspeed.initialize, and DeepSpeedConfig where no rank has met another",
}


class Ranks:
    """Answers for as many data-parallel ranks as a config is meant for."""

    def __init__(self, size: int) -> None:
        self.size = size

    def get_data_parallel_world_size(self) -> int:
        return self.size


@pytest.fixture(scope="module", autouse=True)
def one_rank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """DeepSpeed looks at the number of ranks only when there is a process group; one of a single rank will do."""
    logger = logging.getLogger("DeepSpeed")
    level = logger.level
    logger.setLevel(logging.ERROR)
    where = tmp_path_factory.mktemp("meeting") / "file"
    comm.init_distributed("gloo", auto_mpi_discovery=False, init_method=f"file://{where}", rank=0, world_size=1)
    yield
    comm.destroy_process_group()
    logger.setLevel(level)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("spec") / "run.yaml"
    file.write_text(TINY.read_text())
    return file


def compiled(tiny: Path, target: Target, ranks: int = 2, **sections: str) -> dict[str, Any]:
    machine = f"hardware={{gpu: H100-SXM, gpus_per_node: {ranks}}}"
    overrides = [machine, *(f"{name}={value}" for name, value in sections.items())]
    return compile_spec(Case(load_spec(tiny, overrides), AROUND).resolved, target).as_dict()


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def plain(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else list(value) if isinstance(value, tuple) else value


def refused_or_ignored(values: dict[str, Any], ranks: int) -> list[str]:
    """Returns every key that DeepSpeed does not read, or reads as something else."""
    recorder = RecordingDict(values)
    parsed = DeepSpeedConfig(recorder, mpu=Ranks(ranks))
    unread = [key for key in recorder.unread() if not key.startswith((*INSIDE_PYDANTIC, *KEPT))]
    given = dict(leaves(values))
    used = values_in_force(parsed, list(given))
    nameless = [f"{key} has no name in force" for key in given if key not in used]
    different = [f"{key}: {given[key]!r} became {used[key]!r}" for key in used if plain(used[key]) != plain(given[key])]
    return [*(f"{key} is not read" for key in unread), *nameless, *different]


_RANKS_OF_EXAMPLES = 2
"""Where the global batch is not in the JSON, because DeepSpeed would count other ranks."""


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_file_that_stands_ready_is_accepted(config: Path) -> None:
    values = json.loads(config.read_text())
    lot = values["train_micro_batch_size_per_gpu"] * values["gradient_accumulation_steps"]

    ranks = values["train_batch_size"] // lot if "train_batch_size" in values else _RANKS_OF_EXAMPLES

    assert refused_or_ignored(values, ranks) == []


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_stage_precision_and_optimizer_is_accepted(tiny: Path, stage: int, precision: str) -> None:
    for optimizer, target in itertools.product(OPTIMIZERS, TARGETS):
        values = compiled(tiny, target, zero=f"{{stage: {stage}}}", precision=precision, optimizer=optimizer)

        assert refused_or_ignored(values, 2) == [], (optimizer, target)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
@pytest.mark.parametrize("offload", OFFLOADS)
def test_every_stage_offload_schedule_and_checkpointing_is_accepted(tiny: Path, stage: int, offload: str) -> None:
    zero = f"{{stage: {stage}, {offload}}}" if offload else f"{{stage: {stage}}}"
    for schedule, checkpointing, target in itertools.product(SCHEDULES, CHECKPOINTINGS, TARGETS):
        sections = {"zero": zero, "schedule": schedule, "activation_checkpointing": checkpointing}
        values = compiled(tiny, target, precision="bf16", monitor="{tensorboard: true}", **sections)

        assert refused_or_ignored(values, 2) == [], (schedule, checkpointing, target)


@pytest.mark.parametrize(("ranks", "micro"), [(1, 8), (2, 4), (4, 1), (8, 1)])
def test_the_batch_is_the_one_deepspeed_works_out(tiny: Path, ranks: int, micro: int) -> None:
    batch = f"{{global_batch_size: 8, micro_batch_size: {micro}}}"
    values = compiled(tiny, "zerotrain", ranks, batch=batch)
    without = {key: value for key, value in values.items() if key != "gradient_accumulation_steps"}

    assert refused_or_ignored(values, ranks) == []
    parsed = DeepSpeedConfig(without, mpu=Ranks(ranks))
    assert parsed.gradient_accumulation_steps == values["gradient_accumulation_steps"] == 8 // micro // ranks


@pytest.mark.parametrize("name", ["offload_optimizer", "offload_param"])
def test_offload_to_nvme_is_accepted(tiny: Path, name: str) -> None:
    values = compiled(tiny, "zerotrain", zero=f"{{stage: 3, {name}: {{device: nvme, nvme_path: /fast}}}}")

    assert refused_or_ignored(values, 2) == []


def test_a_partial_offload_is_accepted_at_stage_3_only(tiny: Path) -> None:
    part = "offload_optimizer: {device: cpu, ratio: 0.5}"

    assert refused_or_ignored(compiled(tiny, "zerotrain", zero=f"{{stage: 3, {part}}}"), 2) == []
    with pytest.raises(ValidationError, match="Partial offloading only supported for ZeRO Stage 3"):
        refused_or_ignored(compiled(tiny, "zerotrain", zero=f"{{stage: 2, {part}}}"), 2)


def test_a_key_nobody_reads_is_found(tiny: Path) -> None:
    """Guards the guard."""
    values = compiled(tiny, "zerotrain")

    assert refused_or_ignored({**values, "gradient_cliping": 1.0}, 2) == [
        "gradient_cliping is not read",
        "gradient_cliping has no name in force",
    ]
