"""Accelerate's own YAML, looked at as the DeepSpeed config that Accelerate makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.tree import Tree

_SECTION = "deepspeed_config"
_SOURCES: Mapping[str, str] = {
    "zero_optimization.stage": f"{_SECTION}.zero_stage",
    "zero_optimization.offload_optimizer.nvme_path": f"{_SECTION}.offload_optimizer_nvme_path",
    "zero_optimization.offload_optimizer": f"{_SECTION}.offload_optimizer_device",
    "zero_optimization.offload_param.nvme_path": f"{_SECTION}.offload_param_nvme_path",
    "zero_optimization.offload_param": f"{_SECTION}.offload_param_device",
    "zero_optimization.stage3_gather_16bit_weights_on_model_save": f"{_SECTION}.zero3_save_16bit_model",
    "gradient_accumulation_steps": f"{_SECTION}.gradient_accumulation_steps",
    "gradient_clipping": f"{_SECTION}.gradient_clipping",
    "fp16": "mixed_precision",
    "bf16": "mixed_precision",
}
"""Keys of DeepSpeed's and where they stand in the YAML (accelerate/utils/dataclasses.py), the longest path first."""


def in_yaml(findings: list[Diagnostic], tree: Tree) -> Iterator[Diagnostic]:
    """Yields the findings about the config Accelerate makes, at the keys of the YAML they come from.

    What Accelerate has written by itself is only told where DeepSpeed refuses it.
    """
    for finding in findings:
        key = _source(finding.place.key or "")
        if finding.is_error or tree.path_of(key) in tree.marks:
            yield replace(finding, place=replace(finding.place, key=key), fix=None)


def _source(key: str) -> str:
    found = (own for made, own in _SOURCES.items() if key == made or key.startswith(f"{made}."))
    return next(found, _SECTION)
