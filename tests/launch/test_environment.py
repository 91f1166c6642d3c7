"""What every rank is given, whichever launcher starts it, and who has set it."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from zerotrain.launch.environment import environment_table, passed_on, shared_environment
from zerotrain.launch.job import Order
from zerotrain.launch.table import LAUNCHERS

Make = Callable[..., Order]

ALWAYS = {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false", "DEEPSPEED_TIMEOUT": "30"}
H100 = "{gpu: H100-SXM, gpus_per_node: 2}"


def test_a_rank_on_a_gpu_gets_only_what_every_rank_gets(order: Make) -> None:
    assert shared_environment(order(hardware=H100)) == ALWAYS


def test_the_timeout_reaches_deepspeed_in_whole_minutes(order: Make) -> None:
    made = order(launch="{type: local, timeout: 90 seconds}")

    assert shared_environment(made)["DEEPSPEED_TIMEOUT"] == "2"


def test_what_the_spec_sets_counts(order: Make) -> None:
    made = order(launch="{type: local, environment: {NCCL_DEBUG: INFO, OMP_NUM_THREADS: '3'}}")

    assert shared_environment(made) == {
        **ALWAYS,
        "DS_ACCELERATOR": "cpu",
        "OMP_NUM_THREADS": "3",
        "NCCL_DEBUG": "INFO",
    }


def test_other_machines_get_settings_of_libraries_but_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NCCL_DEBUG", "HF_HOME", "HF_TOKEN", "WANDB_API_KEY", "RANK", "DS_ACCELERATOR", "EDITOR"):
        monkeypatch.setenv(name, "x")

    assert {"NCCL_DEBUG", "HF_HOME", "PATH"} <= set(passed_on())
    assert not {"HF_TOKEN", "WANDB_API_KEY", "RANK", "DS_ACCELERATOR", "EDITOR"} & set(passed_on())


def test_the_table_tells_who_has_set_what_and_hides_secrets(order: Make) -> None:
    made = order(launch="{type: local, environment: {MY_TOKEN: abc, NCCL_DEBUG: INFO}}")
    rows = {row.name: row for row in environment_table(LAUNCHERS["local"](made), made.spec.launch)}

    assert (rows["RANK"].value, rows["RANK"].source.split(":")[0]) == ("0, 1", "the launcher")
    assert (rows["NCCL_DEBUG"].value, rows["NCCL_DEBUG"].source) == ("INFO", "launch.environment")
    assert rows["DS_ACCELERATOR"].source.startswith("zerotrain: ")
    assert rows["MY_TOKEN"].value == "…"
    assert list(rows) == sorted(rows)


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
