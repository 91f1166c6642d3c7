"""What a spec needs of a machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zerotrain.check.case import Case
from zerotrain.doctor.need import Need, any_need, need_of
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.runs.catalogue import catalogue
from zerotrain.spec.load import load_spec

TINY = Path(__file__).parents[1] / "golden" / "tiny.yaml"
AROUND = Surroundings(directory=Path("/home/me"), cache=Path("/cache"))

Needed = Callable[..., Need]


@pytest.fixture
def needed() -> Needed:
    """Returns what the tiny spec needs with overrides: `needed("zero.stage=2")`."""

    def run(*overrides: str) -> Need:
        return need_of(Case(load_spec(TINY, overrides), AROUND), Path("run.yaml"))

    return run


def test_ranks_ops_and_places_follow_from_the_spec(needed: Needed) -> None:
    need = needed("hardware={gpu: H100-SXM, gpus_per_node: 2}", "zero={stage: 2, offload_optimizer: {device: cpu}}")

    assert (need.on_gpu, need.on_cpu, need.ranks, need.nodes) == (True, False, 2, 1)
    assert need.ops == ("CPUAdamBuilder",)
    assert [(place.key, str(place.path)) for place in need.places] == [
        ("name", "/home/me/runs"),
        ("data.cache", "/cache/data"),
    ]


def test_nvme_needs_its_ops_and_its_directory(needed: Needed) -> None:
    offload = "zero={stage: 3, offload_optimizer: {device: nvme, nvme_path: /nvme}}"
    need = needed("hardware={gpu: H100-SXM, gpus_per_node: 2}", offload)

    assert need.ops == ("CPUAdamBuilder", "PinMemoryBuilder", "AsyncIOBuilder")
    assert (need.places[-1].key, str(need.places[-1].path)) == ("zero.offload_optimizer.nvme_path", "/nvme")


def test_other_machines_must_see_the_directory_the_spec_and_the_data(needed: Needed) -> None:
    launch = "launch={type: deepspeed, hostfile: hosts}"
    need = needed(launch, "data.train=[{type: text, path: corpus}]")

    assert need.hostfile == Path("/home/me/hosts")
    assert [str(path) for path in need.paths] == ["/home/me", "/home/me/run.yaml", "/home/me/corpus"]


@pytest.mark.parametrize(
    ("overrides", "bytes_per_parameter"),
    [
        (["precision=bf16", "zero.stage=2"], 2 + 4 + 8),
        (["precision=bf16", "zero.stage=3"], 4 + 8),
        (["precision=fp32", "zero.stage=0"], 4 + 8),
        (["precision=bf16", "zero.stage=2", "optimizer={type: sgd, lr: 0.1, momentum: 0.9}"], 2 + 4 + 4),
        (["precision=bf16", "zero.stage=2", "ema={}"], 2 + 4 + 8 + 4),
    ],
)
def test_a_checkpoint_holds_weights_their_copy_and_the_moments(
    needed: Needed, overrides: list[str], bytes_per_parameter: int
) -> None:
    need = needed(*overrides, "checkpoint.keep_last=1")
    shape = Case(load_spec(TINY), AROUND).shape

    assert shape is not None
    assert need.checkpoints == 2 * shape.parameters * bytes_per_parameter


def test_states_are_shared_by_ranks_from_stage_1_and_weights_at_stage_3(needed: Needed) -> None:
    two = ("precision=bf16", "hardware={gpu: cpu, gpus_per_node: 2}", "batch.global_batch_size=8")
    memory = [needed(*two, f"zero.stage={stage}").host_memory for stage in (0, 2, 3)]
    shape = Case(load_spec(TINY), AROUND).shape

    assert shape is not None
    assert [round(total / shape.parameters) for total in memory] == [2 * 14, 12 + 2 * 2, 14]


def test_on_gpus_only_what_is_offloaded_is_in_the_memory_of_the_host(needed: Needed) -> None:
    gpus = ("precision=bf16", "hardware={gpu: H100-SXM, gpus_per_node: 2}", "batch.global_batch_size=8")

    assert needed(*gpus).host_memory == 0
    assert needed(*gpus, "zero={stage: 2, offload_optimizer: {device: cpu}}").host_memory > 0


def test_without_a_spec_any_run_counts() -> None:
    need = any_need(AROUND)

    assert (need.spec, need.on_cpu, need.on_gpu, need.ops) == (None, False, False, ())


def test_a_checkpoint_of_a_real_run_is_as_large_as_told(train: Callable[..., Any]) -> None:
    changes = {"precision": "bf16", "zero.stage": 2, "model.config.hidden_size": 128, "checkpoint": {"keep_last": 1}}
    result = train(changes, 2)
    spec = load_spec(result.run.root.parent.parent / "spec.yaml", ["hardware.gpus_per_node=2"])
    told = need_of(Case(spec, AROUND), Path("spec.yaml")).checkpoints / 2

    (checkpoint,), _ = catalogue(result.run)
    written = sum(size for name, size in checkpoint.manifest.files.items() if name.endswith(".pt"))
    assert told <= written <= 1.1 * told
