"""Ranks, and how the parallel axes share them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerotrain.hardware.topology import Topology, topology_of
from zerotrain.spec.parallelism import HardwareSpec, ParallelSpec

SMALL = st.integers(min_value=1, max_value=64)
FEW = st.integers(min_value=1, max_value=8)


@pytest.mark.parametrize(
    ("nodes", "per_node", "world_size", "expected"),
    [
        (1, 2, None, (1, 2)),
        (4, 8, None, (4, 8)),
        (4, 8, 32, (4, 8)),
        (1, 2, 1, (1, 1)),
        (1, 8, 5, (1, 5)),
        (4, 8, 8, (1, 8)),
        (1, 2, 4, (2, 2)),
        (1, 8, 64, (8, 8)),
        (1, 2, 3, (3, 1)),
        (2, 8, 12, (12, 1)),
    ],
)
def test_a_world_size_replaces_the_ranks_of_the_hardware(
    nodes: int, per_node: int, world_size: int | None, expected: tuple[int, int]
) -> None:
    hardware = HardwareSpec(num_nodes=nodes, gpus_per_node=per_node)
    topology = topology_of(hardware, ParallelSpec(), world_size)

    assert (topology.num_nodes, topology.gpus_per_node) == expected


@given(FEW, FEW, FEW, FEW)
def test_as_many_ranks_see_a_sample_as_work_on_it(dp: int, tp: int, pp: int, sp: int) -> None:
    topology = Topology(1, dp * tp * pp * sp, tp=tp, pp=pp, sp=sp)
    seen = [topology.dp_rank(rank) for rank in range(topology.world_size)]

    assert {seen.count(number) for number in range(dp)} == {tp * pp * sp}


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ({"tp": 2}, [0, 0, 1, 1, 2, 2, 3, 3]),
        ({"sp": 4}, [0, 0, 0, 0, 1, 1, 1, 1]),
        ({"pp": 2}, [0, 1, 2, 3, 0, 1, 2, 3]),
        ({"tp": 2, "pp": 2}, [0, 0, 1, 1, 0, 0, 1, 1]),
        ({"ep": 4}, [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_tensor_and_sequence_parallel_ranks_are_neighbours_and_stages_far_apart(
    axes: dict[str, int], expected: list[int]
) -> None:
    topology = Topology(1, 8, **axes)

    assert [topology.dp_rank(rank) for rank in range(8)] == expected


@given(SMALL, SMALL, SMALL)
def test_there_are_as_many_ranks_as_asked_for(nodes: int, per_node: int, world_size: int) -> None:
    hardware = HardwareSpec(num_nodes=nodes, gpus_per_node=per_node)

    assert topology_of(hardware, ParallelSpec(), world_size).world_size == world_size
    assert topology_of(hardware, ParallelSpec()).world_size == nodes * per_node


def test_the_axes_divide_the_ranks_and_experts_do_not() -> None:
    topology = topology_of(HardwareSpec(num_nodes=2, gpus_per_node=8), ParallelSpec(tp=2, pp=2, sp=2, ep=4))

    assert topology == Topology(2, 8, tp=2, pp=2, sp=2, ep=4)
    assert (topology.model_parallel_size, topology.dp) == (8, 2)


def test_too_few_ranks_for_the_axes_leave_no_data_parallel_rank() -> None:
    assert Topology(1, 4, tp=8).dp == 0
