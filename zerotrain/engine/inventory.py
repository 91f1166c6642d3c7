"""What torch and DeepSpeed know of a machine, asked before a run: `python -m zerotrain.engine.inventory [BUILDER …]`.

Prints one JSON object as its last line. It is a program because the light wing may not import either.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from deepspeed.ops.op_builder.builder import (
    CUDAMismatchException,
    MissingCUDAException,
    OpBuilder,
    assert_no_cuda_mismatch,
    installed_cuda_version,
)

from zerotrain.engine.device import accelerator
from zerotrain.engine.ops import build_directory, compile_apart, is_installed, show_ninja
from zerotrain.errors import reason_of


def inventory(builders: list[str]) -> dict[str, Any]:
    """Returns the versions, the devices, and for each op whether it is built and can be."""
    compile_apart()
    toolkit, problem = _toolkit() if torch.version.cuda else (None, None)
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "accelerator": accelerator().device_name().partition(":")[0],
        "devices": torch.cuda.device_count(),
        "toolkit": toolkit,
        "toolkit_problem": problem,
        "ops": [_op(name) for name in builders],
    }


def _op(builder: str) -> dict[str, Any]:
    made = accelerator().create_op_builder(builder)
    try:
        directory = build_directory(made.name)
    except OSError as failure:
        return {"name": made.name, "directory": None, "built": False, "problem": reason_of(failure)}
    built = is_installed(made.name) or (directory / f"{made.name}.so").is_file()
    return {
        "name": made.name,
        "directory": str(directory),
        "built": built,
        "problem": None if built else _against(made),
    }


def _against(made: OpBuilder) -> str | None:
    """Returns what DeepSpeed has against building an op, in its own words as far as it finds any."""
    try:
        can = made.is_compatible(verbose=False)
    except Exception as failure:
        return str(failure).strip().partition("\n")[0] or type(failure).__name__
    return None if can else made.error_log or "DeepSpeed finds it incompatible with this machine"


def _toolkit() -> tuple[str | None, str | None]:
    """Returns the CUDA version of the compiler, and why DeepSpeed refuses it."""
    try:
        version = ".".join(map(str, installed_cuda_version()))
    except MissingCUDAException as failure:
        return None, str(failure)
    try:
        assert_no_cuda_mismatch()
    except CUDAMismatchException as failure:
        return version, str(failure)
    return version, None


if __name__ == "__main__":
    show_ninja()
    print(json.dumps(inventory(sys.argv[1:])))
