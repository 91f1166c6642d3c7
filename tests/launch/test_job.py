"""What every rank is given, whichever launcher starts it."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from zerotrain.launch.job import Order, shared_environment

Make = Callable[..., Order]

ALWAYS = {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}
H100 = "{gpu: H100-SXM, gpus_per_node: 2}"


def test_the_launcher_s_log_is_in_the_attempt_s_directory(order: Make) -> None:
    assert str(order().log) == "runs/tiny/logs/attempt-3/launcher.log"


def test_a_rank_on_a_gpu_gets_only_what_every_rank_gets(order: Make) -> None:
    assert shared_environment(order(hardware=H100)) == ALWAYS


@pytest.mark.parametrize("ranks", [1, 2, 1000])
def test_ranks_on_a_cpu_share_its_processors(order: Make, ranks: int) -> None:
    cpus = len(os.sched_getaffinity(0))
    made = order(
        hardware=f"{{gpu: cpu, gpus_per_node: {ranks}}}", batch="{global_batch_size: 4000, micro_batch_size: 1}"
    )

    assert shared_environment(made) == {
        **ALWAYS,
        "DS_ACCELERATOR": "cpu",
        "OMP_NUM_THREADS": str(max(1, cpus // ranks)),
    }


@pytest.mark.parametrize(("given", "threads"), [("7", "7"), ("", None)])
def test_a_number_of_threads_that_is_set_counts(
    order: Make, monkeypatch: pytest.MonkeyPatch, given: str, threads: str | None
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    found = shared_environment(order())["OMP_NUM_THREADS"]

    assert found == (threads or str(max(1, len(os.sched_getaffinity(0)) // 2)))


def test_a_cpu_is_a_cpu_however_it_is_written(order: Make) -> None:
    assert shared_environment(order(hardware="{gpu: CPU, gpus_per_node: 2}"))["DS_ACCELERATOR"] == "cpu"
