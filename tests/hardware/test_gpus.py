"""The table is complete, consistent and forgiving about how a name is written."""

from __future__ import annotations

import pytest

from zerotrain.hardware.gpus import ALIASES, GPUS, Gpu, find_gpu

PROMISED = """
    V100-SXM-16 V100-SXM-32 T4 A10 A10G A40 A6000 A100-SXM-40 A100-SXM-80 A100-PCIE-40 A100-PCIE-80 L4 L40S
    RTX-3090 RTX-4090 H100-SXM H100-PCIE H100-NVL H200-SXM H800-SXM H20 GH200-96 B200 B300 GB200
    MI250X MI300X MI325X MI355X cpu
"""
ACCELERATORS = [gpu for gpu in GPUS.values() if not gpu.host]


def test_the_table_has_every_promised_name() -> None:
    assert list(GPUS) == PROMISED.split()
    assert all(name == gpu.name for name, gpu in GPUS.items())


@pytest.mark.parametrize("gpu", ACCELERATORS, ids=lambda gpu: gpu.name)
def test_figures_are_in_bytes_and_operations_per_second(gpu: Gpu) -> None:
    assert gpu.memory is not None and 14 * 2**30 < gpu.memory <= 288 * 2**30
    assert gpu.fp16_flops is not None and 60e12 < gpu.fp16_flops < 3e15
    assert gpu.memory_bandwidth is not None and 300e9 <= gpu.memory_bandwidth <= 8e12
    assert gpu.link_bandwidth is None or 16e9 <= gpu.link_bandwidth <= 900e9


@pytest.mark.parametrize("gpu", ACCELERATORS, ids=lambda gpu: gpu.name)
def test_dense_peaks_halve_with_every_doubling_of_the_format(gpu: Gpu) -> None:
    assert gpu.bf16_flops in (gpu.fp16_flops, None)
    if gpu.tf32_flops is not None:
        assert gpu.fp16_flops == pytest.approx(2 * gpu.tf32_flops, rel=0.02)
    if gpu.fp32_flops is not None:
        assert gpu.fp32_flops <= (gpu.tf32_flops or gpu.fp16_flops)


@pytest.mark.parametrize("gpu", ACCELERATORS, ids=lambda gpu: gpu.name)
def test_a_format_is_supported_where_it_has_a_peak(gpu: Gpu) -> None:
    assert gpu.bf16 == (gpu.bf16_flops is not None)
    assert gpu.fp16


@pytest.mark.parametrize(
    ("name", "dense", "sparse"),
    [
        ("H100-SXM", 989.4e12, 1979e12),
        ("H100-PCIE", 756.5e12, 1513e12),
        ("L4", 121e12, 242e12),
        ("B200", 2.25e15, 4.5e15),
    ],
)
def test_peaks_are_dense_not_sparse(name: str, dense: float, sparse: float) -> None:
    assert GPUS[name].bf16_flops == dense
    assert dense == pytest.approx(sparse / 2, rel=0.001)


def test_cards_without_bf16_and_with_fp8_are_those_of_their_generations() -> None:
    assert {gpu.name for gpu in ACCELERATORS if not gpu.bf16} == {"V100-SXM-16", "V100-SXM-32", "T4"}
    assert not any(GPUS[name].fp8 for name in ("A100-SXM-80", "A10", "RTX-3090", "MI250X"))
    assert all(GPUS[name].fp8 for name in ("L4", "L40S", "RTX-4090", "H100-SXM", "H20", "B200", "MI300X"))


def test_the_processor_has_no_figures_and_no_fp16() -> None:
    cpu = GPUS["cpu"]

    assert cpu.host and cpu.bf16 and not cpu.fp16
    assert {cpu.memory, cpu.bf16_flops, cpu.fp16_flops, cpu.tf32_flops, cpu.fp32_flops} == {None}
    assert {cpu.memory_bandwidth, cpu.link_bandwidth} == {None}
    assert [gpu.name for gpu in GPUS.values() if gpu.host] == ["cpu"]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("H100-SXM", "H100-SXM"),
        ("h100", "H100-SXM"),
        ("H100_SXM", "H100-SXM"),
        ("h100 sxm5", "H100-SXM"),
        ("a100-80g", "A100-SXM-80"),
        ("A100 40GB", "A100-SXM-40"),
        ("rtx3090", "RTX-3090"),
        ("RTX A6000", "A6000"),
        ("a6000", "A6000"),
        ("mi300x", "MI300X"),
        ("CPU", "cpu"),
    ],
)
def test_a_name_is_found_whatever_its_case_and_separators(written: str, name: str) -> None:
    assert find_gpu(written) is GPUS[name]


@pytest.mark.parametrize(
    ("reported", "name"),
    [
        ("Tesla V100-SXM2-32GB", "V100-SXM-32"),
        ("Tesla T4", "T4"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA RTX A6000", "A6000"),
        ("NVIDIA A100-SXM4-80GB", "A100-SXM-80"),
        ("NVIDIA A100 80GB PCIe", "A100-PCIE-80"),
        ("NVIDIA A100-PCIE-40GB", "A100-PCIE-40"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("NVIDIA H100 80GB HBM3", "H100-SXM"),
        ("NVIDIA H100 PCIe", "H100-PCIE"),
        ("NVIDIA H100 NVL", "H100-NVL"),
        ("NVIDIA H200", "H200-SXM"),
        ("NVIDIA GH200 480GB", "GH200-96"),
        ("NVIDIA B300 SXM6 AC", "B300"),
        ("AMD Instinct MI325X", "MI325X"),
    ],
)
def test_the_name_a_driver_reports_is_found(reported: str, name: str) -> None:
    assert find_gpu(reported) is GPUS[name]


def test_every_name_and_alias_finds_its_own_entry() -> None:
    assert all(find_gpu(name) is gpu for name, gpu in GPUS.items())
    assert all(find_gpu(alias) is GPUS[name] for alias, name in ALIASES.items())


@pytest.mark.parametrize("name", ["A100", "V100", "H1000", "", "gpu", "NVIDIA"])
def test_an_unknown_or_ambiguous_name_finds_nothing(name: str) -> None:
    assert find_gpu(name) is None
