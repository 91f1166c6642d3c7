"""Which of DeepSpeed's compiled ops a configuration loads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ON_DEVICE = {
    "adam": "FusedAdamBuilder",
    "adamw": "FusedAdamBuilder",
    "muon": "FusedAdamBuilder",
    "lion": "FusedLionBuilder",
    "lamb": "FusedLambBuilder",
}
_OFFLOADED = {
    "adam": "CPUAdamBuilder",
    "adamw": "CPUAdamBuilder",
    "muon": "CPUAdamBuilder",
    "adagrad": "CPUAdagradBuilder",
    "lion": "CPULionBuilder",
}


def needed_ops(ds_config: Mapping[str, Any], on_cpu: bool) -> list[str]:
    """Returns the names of the builders of the ops that ranks load at their start."""
    optimizer = ds_config["optimizer"]["type"].lower()
    offloaded = "offload_optimizer" in ds_config["zero_optimization"]
    builder = (_OFFLOADED if offloaded else _ON_DEVICE).get(optimizer)
    # On a CPU `init_distributed` loads the shared-memory communication op (deepspeed/comm/torch.py).
    return ["ShareMemCommBuilder"] * on_cpu + ([builder] if builder else []) + _nvme_ops(ds_config)


def _nvme_ops(ds_config: Mapping[str, Any]) -> list[str]:
    """Returns the builders of the ops that offloading to NVMe loads (runtime/swap_tensor)."""
    offloads = (ds_config["zero_optimization"].get(f"offload_{what}", {}) for what in ("optimizer", "param"))
    return ["PinMemoryBuilder", "AsyncIOBuilder"] if any(part.get("device") == "nvme" for part in offloads) else []
