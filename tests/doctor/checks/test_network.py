"""Whether ranks can find each other."""

from __future__ import annotations

import pytest

from tests.doctor.conftest import Judge, with_parts
from zerotrain.doctor.checks.network import no_loopback, taken_port, unknown_hostname, unknown_interface


@pytest.mark.parametrize(
    ("variable", "written", "is_there"),
    [
        ("GLOO_SOCKET_IFNAME", "eth0", True),
        ("GLOO_SOCKET_IFNAME", "eth", False),
        ("GLOO_SOCKET_IFNAME", "eth0,ib0", False),
        ("NCCL_SOCKET_IFNAME", "eth", True),
        ("NCCL_SOCKET_IFNAME", "ib", False),
        ("NCCL_SOCKET_IFNAME", "ib,eth", True),
        ("NCCL_SOCKET_IFNAME", "=eth", False),
        ("NCCL_SOCKET_IFNAME", "=eth0", True),
        ("NCCL_SOCKET_IFNAME", "^docker,lo", True),
    ],
)
def test_zt867_an_interface_that_is_not_there(judge: Judge, variable: str, written: str, is_there: bool) -> None:
    found = judge(unknown_interface, with_parts(network={"chosen": {variable: written}}))

    assert [finding.code for finding in found] == ([] if is_there else ["ZT867"])


def test_zt868_a_name_that_nothing_knows(judge: Judge) -> None:
    assert [finding.code for finding in judge(unknown_hostname, with_parts(network={"address": None}))] == ["ZT868"]
    assert judge(unknown_hostname) == []


def test_zt869_a_machine_that_cannot_reach_itself(judge: Judge) -> None:
    found = judge(no_loopback, with_parts(network={"loopback_problem": "network is unreachable"}))

    assert [finding.code for finding in found] == ["ZT869"]
    assert judge(no_loopback) == []


def test_zt870_a_port_that_is_taken(judge: Judge) -> None:
    taken = {"master_port": "29500", "master_port_problem": "address already in use"}

    assert (
        "`29500`, where nothing can listen: address already" in judge(taken_port, with_parts(network=taken))[0].message
    )
    assert judge(taken_port, with_parts(network={"master_port": "29500"})) == []
