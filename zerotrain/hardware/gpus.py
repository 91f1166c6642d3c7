"""Accelerators by name, with the figures their vendors print: dense peaks, never those for structured sparsity."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """One accelerator as a rank sees it. A figure is `None` where the vendor gives none or contradicts itself."""

    name: str
    memory: int | None
    """Bytes the driver shows; its own context and the collective library still come out of them."""
    bf16_flops: float | None
    """Dense peak per second."""
    fp16_flops: float | None
    """Dense peak per second, accumulated in fp32."""
    tf32_flops: float | None
    """Dense peak per second of fp32 matrices rounded to TF32; `None` without such units."""
    fp32_flops: float | None
    """Peak per second of plain fp32, without tensor or matrix units."""
    memory_bandwidth: float | None
    """Bytes per second."""
    link_bandwidth: float | None
    """Bytes per second from one GPU to the others of its node, in one direction, over all its links."""
    bf16: bool
    """Computes bf16 in hardware."""
    fp16: bool
    """Computes fp16 in hardware, as far as DeepSpeed knows."""
    fp8: bool
    """Computes fp8 in hardware."""
    host: bool = False
    """Not an accelerator: ranks compute on the processor and share its memory."""


# GB/s in one direction. NVLink: V100, A100, H100 and Blackwell data sheets print 300, 600, 900 and 1800 for both.
_NVLINK_2, _NVLINK_3, _NVLINK_4, _NVLINK_5 = 150, 300, 450, 900
# PCI Express with 16 lanes: data sheets print 32, 64 and 128 for both directions. Bridges between two cards are left
# out, as a node usually has more cards than a bridge joins.
_PCIE_3, _PCIE_4, _PCIE_5 = 16, 32, 64
# Cards with GDDR6 keep one sixteenth for error correction, which is on when they are delivered: 24 GiB show 22.5.
_ECC = 15 / 16


def _gpu(
    name: str,
    gib: float,
    *,
    memory: float,
    link: float | None,
    fp16: float,
    bf16: float | None = None,
    tf32: float | None = None,
    fp32: float | None = None,
    fp8: bool = False,
) -> Gpu:
    """Returns a GPU from peaks in TFLOP/s and bandwidths in GB/s; vendors write GB for GiB of memory."""
    return Gpu(
        name=name,
        memory=int(gib * 2**30),
        bf16_flops=_scaled(bf16, 1e12),
        fp16_flops=_scaled(fp16, 1e12),
        tf32_flops=_scaled(tf32, 1e12),
        fp32_flops=_scaled(fp32, 1e12),
        memory_bandwidth=_scaled(memory, 1e9),
        link_bandwidth=_scaled(link, 1e9),
        bf16=bf16 is not None,
        fp16=True,
        fp8=fp8,
    )


def _scaled(figure: float | None, unit: float) -> float | None:
    return None if figure is None else figure * unit


_TABLE = (
    # NVIDIA Tesla V100 data sheet (2020): 125 TFLOP/s tensor, 15.7 single precision, 900 GB/s, NVLink 300 GB/s.
    _gpu("V100-SXM-16", 16, fp16=125, fp32=15.7, memory=900, link=_NVLINK_2),
    _gpu("V100-SXM-32", 32, fp16=125, fp32=15.7, memory=900, link=_NVLINK_2),
    # NVIDIA T4 data sheet: 65 TFLOP/s mixed precision, 8.1 single precision, 320 GB/s, PCIe 3 x16.
    _gpu("T4", 16 * _ECC, fp16=65, fp32=8.1, memory=320, link=_PCIE_3),
    # NVIDIA A10 data sheet: 125 TFLOP/s bf16, 62.5 TF32, 31.2 fp32, 600 GB/s, PCIe 4 x16.
    _gpu("A10", 24 * _ECC, fp16=125, bf16=125, tf32=62.5, fp32=31.2, memory=600, link=_PCIE_4),
    # NVIDIA A10G for AWS data sheet (2022): 70 TFLOP/s bf16 (half an A10's), 35 TF32, 35 fp32, 600 GB/s, PCIe 4 x16.
    _gpu("A10G", 24 * _ECC, fp16=70, bf16=70, tf32=35, fp32=35, memory=600, link=_PCIE_4),
    # NVIDIA A40 data sheet: 149.7 TFLOP/s bf16, 74.8 TF32, 37.4 fp32, 696 GB/s, PCIe 4 x16.
    _gpu("A40", 48 * _ECC, fp16=149.7, bf16=149.7, tf32=74.8, fp32=37.4, memory=696, link=_PCIE_4),
    # NVIDIA RTX A6000 data sheet: tensor 309.7 TFLOP/s sparse, so 154.8 dense; 38.7 fp32; 768 GB/s; PCIe 4 x16.
    # TF32 is half of bf16 on this chip (GA102 architecture paper). Error correction is off when delivered.
    _gpu("A6000", 48, fp16=154.8, bf16=154.8, tf32=77.4, fp32=38.7, memory=768, link=_PCIE_4),
    # NVIDIA A100 data sheet (2021): 312 TFLOP/s bf16, 156 TF32, 19.5 fp32; 1555, 2039 (SXM), 1935 (PCIe) GB/s.
    _gpu("A100-SXM-40", 40, fp16=312, bf16=312, tf32=156, fp32=19.5, memory=1555, link=_NVLINK_3),
    _gpu("A100-SXM-80", 80, fp16=312, bf16=312, tf32=156, fp32=19.5, memory=2039, link=_NVLINK_3),
    _gpu("A100-PCIE-40", 40, fp16=312, bf16=312, tf32=156, fp32=19.5, memory=1555, link=_PCIE_4),
    _gpu("A100-PCIE-80", 80, fp16=312, bf16=312, tf32=156, fp32=19.5, memory=1935, link=_PCIE_4),
    # NVIDIA L4 data sheet: 242 TFLOP/s bf16 and 120 TF32 sparse, half of it dense; 30.3 fp32; 300 GB/s; PCIe 4 x16.
    _gpu("L4", 24 * _ECC, fp16=121, bf16=121, tf32=60, fp32=30.3, memory=300, link=_PCIE_4, fp8=True),
    # NVIDIA L40S data sheet: 362.05 TFLOP/s bf16, 183 TF32, 91.6 fp32, 864 GB/s, PCIe 4 x16.
    _gpu("L40S", 48 * _ECC, fp16=362.05, bf16=362.05, tf32=183, fp32=91.6, memory=864, link=_PCIE_4, fp8=True),
    # NVIDIA GA102 architecture paper, appendix: 71 TFLOP/s fp16 with fp32 accumulation and bf16, 35.6 TF32 and fp32.
    _gpu("RTX-3090", 24, fp16=71, bf16=71, tf32=35.6, fp32=35.6, memory=936, link=_PCIE_4),
    # NVIDIA Ada architecture paper, appendix: 165.2 TFLOP/s fp16 with fp32 accumulation and bf16, 82.6 TF32 and fp32.
    _gpu("RTX-4090", 24, fp16=165.2, bf16=165.2, tf32=82.6, fp32=82.6, memory=1008, link=_PCIE_4, fp8=True),
    # NVIDIA H100 architecture paper (SXM: 989.4 TFLOP/s bf16, 494.7 TF32, 66.9 fp32) and H100 data sheet, whose
    # tensor figures are sparse (PCIe 1513 bf16, 756 TF32; NVL 1671 and 835), so half of them here.
    _gpu("H100-SXM", 80, fp16=989.4, bf16=989.4, tf32=494.7, fp32=66.9, memory=3350, link=_NVLINK_4, fp8=True),
    _gpu("H100-PCIE", 80, fp16=756.5, bf16=756.5, tf32=378, fp32=51, memory=2000, link=_PCIE_5, fp8=True),
    _gpu("H100-NVL", 94, fp16=835.5, bf16=835.5, tf32=417.5, fp32=60, memory=3900, link=_PCIE_5, fp8=True),
    # NVIDIA H200 data sheet: compute as H100 SXM, 141 GB, 4.8 TB/s.
    _gpu("H200-SXM", 141, fp16=989.4, bf16=989.4, tf32=494.7, fp32=66.9, memory=4800, link=_NVLINK_4, fp8=True),
    # NVIDIA H800 data sheet: as H100 SXM with NVLink cut to 400 GB/s for both directions.
    _gpu("H800-SXM", 80, fp16=989.4, bf16=989.4, tf32=494.7, fp32=66.9, memory=3350, link=200, fp8=True),
    # NVIDIA H20 data sheet: 148 TFLOP/s bf16, 74 TF32, 44 fp32, 4.0 TB/s, NVLink 900 GB/s.
    _gpu("H20", 96, fp16=148, bf16=148, tf32=74, fp32=44, memory=4000, link=_NVLINK_4, fp8=True),
    # NVIDIA GH200 data sheet: compute as H100 SXM, 96 GB HBM3 at 4 TB/s.
    _gpu("GH200-96", 96, fp16=989.4, bf16=989.4, tf32=494.7, fp32=66.9, memory=4000, link=_NVLINK_4, fp8=True),
    # NVIDIA HGX B200 and B300 tables: eight GPUs have 36 PFLOP/s bf16 and 18 TF32 sparse. DGX B200 data sheet: 64 TB/s
    # for eight. Plain fp32 is 75 in one document and 80 in another. The driver shows 183359 and 275040 MiB of what is
    # sold as 180 and 288 GB.
    _gpu("B200", 183_359 / 1024, fp16=2250, bf16=2250, tf32=1125, memory=8000, link=_NVLINK_5, fp8=True),
    _gpu("B300", 275_040 / 1024, fp16=2250, bf16=2250, tf32=1125, memory=8000, link=_NVLINK_5, fp8=True),
    # NVIDIA GB200 NVL72 table: 72 GPUs have 360 PFLOP/s bf16 and 180 TF32 sparse, 576 TB/s. The driver shows 189471 MiB
    # of what is sold as 186 GB.
    _gpu("GB200", 189_471 / 1024, fp16=2500, bf16=2500, tf32=1250, memory=8000, link=_NVLINK_5, fp8=True),
    # AMD Instinct MI250X data sheet, halved: a rank has one of the two dies. 383 TFLOP/s bf16 matrix, 47.9 fp32 vector,
    # 3.2768 TB/s, 128 GB. Links differ from die to die.
    _gpu("MI250X", 64, fp16=191.5, bf16=191.5, fp32=23.95, memory=1638.4, link=None),
    # AMD Instinct MI300X and MI325X data sheets: 1307.4 TFLOP/s bf16, 653.7 TF32, 163.4 fp32 vector; 7 links of 64 GB/s
    # in one direction.
    _gpu("MI300X", 192, fp16=1307.4, bf16=1307.4, tf32=653.7, fp32=163.4, memory=5300, link=448, fp8=True),
    _gpu("MI325X", 256, fp16=1307.4, bf16=1307.4, tf32=653.7, fp32=163.4, memory=6000, link=448, fp8=True),
    # AMD Instinct MI355X data sheet: 2.5 PFLOP/s bf16 (2516.6 by its clock and units), 157.3 fp32 vector, 8 TB/s; 7
    # links of 153.6 GB/s for both directions. It has no TF32 units.
    _gpu("MI355X", 288, fp16=2516.6, bf16=2516.6, fp32=157.3, memory=8000, link=537.6, fp8=True),
    # DeepSpeed's CPU accelerator supports bf16 everywhere and fp16 only with special instructions.
    Gpu("cpu", None, None, None, None, None, None, None, bf16=True, fp16=False, fp8=False, host=True),
)

GPUS: Mapping[str, Gpu] = {gpu.name: gpu for gpu in _TABLE}

# Other names, also those the drivers report. A bare name is here only if the table has one memory size for it.
ALIASES: Mapping[str, str] = {
    "V100-16GB": "V100-SXM-16",
    "V100-SXM2-16GB": "V100-SXM-16",
    "V100-32GB": "V100-SXM-32",
    "V100-SXM2-32GB": "V100-SXM-32",
    "V100-SXM3-32GB": "V100-SXM-32",
    "RTX A6000": "A6000",
    "A100-40G": "A100-SXM-40",
    "A100-40GB": "A100-SXM-40",
    "A100-SXM-40GB": "A100-SXM-40",
    "A100-SXM4-40GB": "A100-SXM-40",
    "A100-80G": "A100-SXM-80",
    "A100-80GB": "A100-SXM-80",
    "A100-SXM-80GB": "A100-SXM-80",
    "A100-SXM4-80GB": "A100-SXM-80",
    "A100-PCIE-40GB": "A100-PCIE-40",
    "A100-PCIE-80GB": "A100-PCIE-80",
    "A100 80GB PCIe": "A100-PCIE-80",
    "3090": "RTX-3090",
    "4090": "RTX-4090",
    "H100": "H100-SXM",
    "H100-80G": "H100-SXM",
    "H100-80GB": "H100-SXM",
    "H100-SXM5": "H100-SXM",
    "H100-SXM-80GB": "H100-SXM",
    "H100 80GB HBM3": "H100-SXM",
    "H200": "H200-SXM",
    "H200-SXM-141GB": "H200-SXM",
    "H800": "H800-SXM",
    "GH200": "GH200-96",
    "GH200-96GB": "GH200-96",
    # The number is the memory of its processor.
    "GH200 480GB": "GH200-96",
    "B200-SXM": "B200",
    "B300-SXM": "B300",
    "B300 SXM6 AC": "B300",
}

_VENDOR_WORDS = frozenset({"nvidia", "amd", "instinct", "tesla", "geforce"})


def _plain(name: str) -> str:
    return "".join(word for word in re.split(r"[^a-z0-9]+", name.lower()) if word not in _VENDOR_WORDS)


_BY_PLAIN_NAME = {_plain(name): gpu for name, gpu in GPUS.items()} | {
    _plain(alias): GPUS[name] for alias, name in ALIASES.items()
}


def find_gpu(name: str) -> Gpu | None:
    """Returns the accelerator of that name or alias, whatever its case, separators and vendor words; `None` if unknown.

    A name that leaves the memory open, such as `A100`, is unknown.
    """
    return _BY_PLAIN_NAME.get(_plain(name))
