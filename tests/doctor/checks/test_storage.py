"""Memory, disks and limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.doctor.conftest import GIB, MACHINE, Judge, cpu_need, gpu_need, with_parts
from zerotrain.diagnostic import Severity
from zerotrain.doctor.checks.storage import (
    WORKSPACE,
    few_open_files,
    full_disk,
    offload_to_memory,
    small_shared_memory,
    too_little_memory,
    unwritable_directory,
)
from zerotrain.doctor.machine import Directory

OFFLOAD = Directory("zero.offload_param.nvme_path", "offloaded states", "/nvme", None, "xfs", GIB)


def test_zt861_the_64_mib_of_a_container_are_too_little_for_ranks_on_processors(judge: Judge) -> None:
    small = with_parts(storage={"shared_free": 64 * 2**20})

    (finding,) = judge(small_shared_memory, small, cpu_need())
    assert (finding.code, finding.severity) == ("ZT861", Severity.ERROR)
    assert finding.message.startswith("2 ranks need 132MiB of /dev/shm, and 64MiB are free; ")
    assert judge(small_shared_memory, with_parts(storage={"shared_free": 2 * WORKSPACE}), cpu_need()) == []
    assert judge(small_shared_memory, with_parts(storage={"shared_free": None}), cpu_need()) == []


def test_zt861_is_a_warning_while_every_rank_gets_some(judge: Judge) -> None:
    for free, ranks in ((64 * 2**20, 1), (WORKSPACE + 1, 2)):
        found = judge(small_shared_memory, with_parts(storage={"shared_free": free}), cpu_need(ranks=ranks))
        assert [finding.severity for finding in found] == [Severity.WARNING]


def test_zt861_is_a_warning_for_gpus_and_silent_for_one(judge: Judge) -> None:
    small = with_parts(storage={"shared_free": 64 * 2**20})

    assert [finding.severity for finding in judge(small_shared_memory, small)] == [Severity.WARNING]
    assert judge(small_shared_memory, small, gpu_need(ranks=1)) == []
    assert judge(small_shared_memory) == []


@pytest.mark.parametrize(("gib", "severities"), [(65, [Severity.ERROR]), (61, [Severity.WARNING]), (60, []), (0, [])])
def test_zt862_what_does_not_fit_and_what_does_not_fit_now(judge: Judge, gib: int, severities: list[Severity]) -> None:
    found = judge(too_little_memory, MACHINE, cpu_need(host_memory=gib * GIB))

    assert [finding.severity for finding in found] == severities


def test_zt862_names_the_limit_of_a_container(judge: Judge) -> None:
    limited = replace(MACHINE.storage.memory, limit=2 * GIB, is_container_limit=True)  # type: ignore[type-var]
    (finding,) = judge(too_little_memory, with_parts(storage={"memory": limited}), cpu_need(host_memory=3 * GIB))

    assert finding.message.endswith("and this container may take 2GiB")


def test_zt863_a_directory_that_cannot_be_written(judge: Judge) -> None:
    locked = replace(OFFLOAD, problem="`/nvme` is not writable")
    (finding,) = judge(unwritable_directory, with_parts(storage={"directories": (locked,)}))

    assert (finding.code, finding.place.key) == ("ZT863", "zero.offload_param.nvme_path")
    assert judge(unwritable_directory) == []


def test_zt864_checkpoints_that_do_not_fit(judge: Judge) -> None:
    (finding,) = judge(full_disk, MACHINE, gpu_need(checkpoints=101 * GIB))

    assert "take 101GiB, and `/home/me/runs` has 100GiB free" in finding.message
    assert judge(full_disk, MACHINE, gpu_need(checkpoints=100 * GIB)) == []


def test_zt865_a_disk_that_is_memory(judge: Judge) -> None:
    in_memory = with_parts(storage={"directories": (replace(OFFLOAD, filesystem="tmpfs"),)})

    assert [finding.code for finding in judge(offload_to_memory, in_memory)] == ["ZT865"]
    assert judge(offload_to_memory, with_parts(storage={"directories": (OFFLOAD,)})) == []


def test_zt866_few_open_files(judge: Judge) -> None:
    assert [finding.code for finding in judge(few_open_files, with_parts(storage={"open_files": 256}))] == ["ZT866"]
    assert judge(few_open_files, with_parts(storage={"open_files": 1024})) == []
