"""Which environment variables a spec may set, and which go to other machines; names only."""

from __future__ import annotations

from collections.abc import Mapping

SET_BY_LAUNCHERS: Mapping[str, str] = {
    "RANK": "number of the rank",
    "LOCAL_RANK": "number of the rank on its machine",
    "WORLD_SIZE": "number of ranks",
    "LOCAL_WORLD_SIZE": "number of ranks on a machine",
    "LOCAL_SIZE": "the same, as DeepSpeed reads it",
    "MASTER_ADDR": "where the ranks meet",
    "MASTER_PORT": "where the ranks meet",
    "CUDA_VISIBLE_DEVICES": "devices of a machine",
}
"""What a spec may not set, because each rank, machine or start has a value of its own."""

SET_BY_ZEROTRAIN: Mapping[str, str] = {
    "DS_ACCELERATOR": "`cpu` for ranks on processors, from `hardware.gpu`",
    "DEEPSPEED_TIMEOUT": "minutes, from `launch.timeout`",
    "PYTHONUNBUFFERED": "a rank's words are in its log at once",
    "TOKENIZERS_PARALLELISM": "tokenizers are not used while training",
}
"""What a spec may not set, because a key of it or zerotrain itself does."""

PASSED_ON: tuple[str, ...] = (
    *("NCCL_", "GLOO_", "UCX_", "TORCH_", "TORCHINDUCTOR_", "TRITON_", "CUDA_HOME", "OMP_", "MKL_"),
    *("DS_", "DEEPSPEED_", "HF_", "TRANSFORMERS_", "WANDB_", "MLFLOW_"),
    *("PATH", "PYTHON", "LD_LIBRARY_PATH", "XDG_CACHE_HOME"),
)
"""Beginnings of the names of variables that other machines get as this one has them."""

SECRETS: tuple[str, ...] = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "API_KEY", "CREDENTIAL")
"""Parts of the names of variables whose values are shown and written nowhere."""


def is_secret(name: str) -> bool:
    """Tells whether a variable's value is for nobody's eyes."""
    return any(word in name.upper() for word in SECRETS) and name not in SET_BY_ZEROTRAIN


def is_passed_on(name: str) -> bool:
    """Tells whether other machines get a variable as this one has it."""
    reserved = name in SET_BY_LAUNCHERS or name in SET_BY_ZEROTRAIN
    return name.startswith(PASSED_ON) and not reserved and not is_secret(name)
