"""Accelerate's own YAML is looked at as what Accelerate makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from zerotrain.check.config.runner import Circumstances, lint_file
from zerotrain.diagnostic import Diagnostic, Severity
from zerotrain.hardware.gpus import find_gpu

YAML = """\
compute_environment: LOCAL_MACHINE
distributed_type: DEEPSPEED
deepspeed_config:
  gradient_accumulation_steps: 1
  gradient_clipping: 1.0
  zero_stage: {stage}
  offload_param_device: {device}
mixed_precision: {dtype}
num_processes: 8
"""


def lint(directory: Path, text: str, gpu: str | None = None) -> list[Diagnostic]:
    file = directory / "accelerate.yaml"
    file.write_text(text)
    return lint_file(file, Circumstances(gpu=find_gpu(gpu) if gpu else None))


def test_a_usual_one_is_fine(tmp_path: Path) -> None:
    found = lint(tmp_path, YAML.format(stage=3, device="none", dtype="bf16"))

    assert {finding.severity for finding in found} <= {Severity.INFO}


@pytest.mark.parametrize(
    ("stage", "device", "dtype", "code", "key"),
    [
        (2, "cpu", "bf16", "ZT340", "deepspeed_config.offload_param_device"),
        (3, "nvme", "bf16", "ZT344", "deepspeed_config.offload_param_device"),
        (3, "none", "fp16", "ZT225", "mixed_precision"),
    ],
)
def test_a_finding_is_at_the_key_of_the_yaml(
    tmp_path: Path, stage: int, device: str, dtype: str, code: str, key: str
) -> None:
    found = lint(tmp_path, YAML.format(stage=stage, device=device, dtype=dtype), gpu="cpu")

    assert (code, key) in [(finding.code, finding.place.key) for finding in found]
    assert all(finding.place.line for finding in found)


def test_the_config_it_names_is_read_as_accelerate_reads_it(tmp_path: Path) -> None:
    (tmp_path / "ds.json").write_text('{"train_batch_size": "auto", "zero_optimizaton": {}}')
    found = lint(tmp_path, "distributed_type: DEEPSPEED\ndeepspeed_config: {deepspeed_config_file: ds.json}\n")

    assert {"ZT901", "ZT918"} <= {finding.code for finding in found}
    assert {finding.place.file for finding in found} == {str(tmp_path / "ds.json")}


def test_where_deepspeed_is_not_used_nothing_is_said(tmp_path: Path) -> None:
    assert lint(tmp_path, "distributed_type: MULTI_GPU\ndeepspeed_config: {}\nmixed_precision: bf16\n") == []
