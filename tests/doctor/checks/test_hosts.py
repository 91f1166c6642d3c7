"""The machines of a hostfile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.doctor.conftest import ANSWER, HOSTS, MACHINE, Judge, cpu_need, gpu_need
from zerotrain.doctor.checks.hosts import (
    CHECKS,
    bad_hostfile,
    differing_host,
    missing_path,
    no_pdsh,
    silent_host,
    too_few_gpus,
    too_few_hosts,
    wrong_clock,
)
from zerotrain.doctor.machine import BadLine, Hosts, Machine


def with_first(**changes: Any) -> Machine:
    """Returns a machine with a hostfile of two, the first one changed."""
    first, second = HOSTS.hosts
    return replace(MACHINE, hosts=replace(HOSTS, hosts=(replace(first, **changes), second)))


GOOD = with_first()


def test_nothing_is_found_where_all_is_well_or_no_hostfile_is_given(judge: Judge) -> None:
    for machine in (GOOD, MACHINE):
        found = [finding for check in CHECKS for verdict in check.verdicts for finding in judge(verdict, machine)]
        assert found == []


def test_zt871_a_line_that_deepspeed_refuses_is_shown(judge: Judge) -> None:
    bad = replace(MACHINE, hosts=Hosts("hosts", bad=BadLine(3, "worker-1: 8", "`worker-1: 8` is not `host slots=N`")))
    (finding,) = judge(bad_hostfile, bad)

    place = finding.place
    assert (finding.code, place.file, place.line, place.source_line) == ("ZT871", "hosts", 3, "worker-1: 8")


def test_zt871_a_hostfile_that_is_not_there(judge: Judge) -> None:
    (finding,) = judge(bad_hostfile, replace(MACHINE, hosts=Hosts("hosts", problem="no such file or directory")))

    assert (finding.code, finding.place.key) == ("ZT871", "launch.hostfile")


def test_zt872_fewer_machines_or_slots_than_are_meant(judge: Judge) -> None:
    assert [finding.code for finding in judge(too_few_hosts, GOOD, gpu_need(nodes=3))] == ["ZT872"]
    (finding,) = judge(too_few_hosts, with_first(slots=1), gpu_need(nodes=2))
    assert finding.message == "`worker-1` has 1 slots, and the run is meant for 2 on each machine"
    assert judge(too_few_hosts, GOOD, gpu_need(nodes=2)) == []


def test_zt873_no_pdsh(judge: Judge) -> None:
    without = replace(HOSTS, pdsh=None)

    assert [finding.code for finding in judge(no_pdsh, replace(MACHINE, hosts=without))] == ["ZT873"]
    assert judge(no_pdsh, replace(MACHINE, hosts=replace(without, hosts=HOSTS.hosts[:1]))) == []


@pytest.mark.parametrize(
    ("problem", "help"),
    [
        ("root@worker-1: Permission denied (publickey)", "`ssh-copy-id worker-1`"),
        ("Host key verification failed", "`ssh worker-1` once"),
        ("connect to host worker-1 port 22: Connection refused", "sshd"),
        ("something else", "`ssh -o BatchMode=yes worker-1 hostname`"),
    ],
)
def test_zt874_a_machine_that_does_not_answer(judge: Judge, problem: str, help: str) -> None:
    (finding,) = judge(silent_host, with_first(answer=None, problem=problem))

    assert (finding.code, finding.place.file, finding.place.line) == ("ZT874", "hosts", 1)
    assert finding.help is not None
    assert help in finding.help


def test_zt875_other_versions(judge: Judge) -> None:
    other = replace(ANSWER, hostname="worker-1", packages={"torch": "2.12.0", "deepspeed": None})
    (finding,) = judge(differing_host, with_first(answer=other))

    assert finding.code == "ZT875"
    assert finding.message.endswith("torch 2.12.0 for 2.13.0, deepspeed None for 0.19.8")


def test_zt876_a_path_that_is_not_there(judge: Judge) -> None:
    (finding,) = judge(missing_path, with_first(answer=replace(ANSWER, missing=("/home/me/run.yaml",))))

    assert (finding.code, finding.message) == ("ZT876", "`worker-1` has no `/home/me/run.yaml`")


def test_zt857_fewer_gpus_than_slots(judge: Judge) -> None:
    fewer = with_first(answer=replace(ANSWER, gpus=1))

    assert [finding.code for finding in judge(too_few_gpus, fewer)] == ["ZT857"]
    assert judge(too_few_gpus, fewer, cpu_need()) == []


@pytest.mark.parametrize(("skew", "word"), [(90.0, "90s ahead of"), (-2.0, "2s behind"), (0.5, None), (-1.0, None)])
def test_zt877_a_clock_that_is_off(judge: Judge, skew: float, word: str | None) -> None:
    found = judge(wrong_clock, with_first(skew=skew))

    assert [finding.code for finding in found] == (["ZT877"] if word else [])
    assert word is None or word in found[0].message
