"""What an interpreter answers about its machine. Sent as text to other machines, so it needs nothing but itself."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version

_SECONDS = 10


def answer(packages: list[str], paths: list[str]) -> dict[str, object]:
    """Returns versions, the paths that are not there, the GPUs, and the time."""
    return {
        "time": time.time(),
        "hostname": platform.node(),
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in packages},
        "missing": [path for path in paths if not os.path.exists(path)],  # noqa: PTH110
        "gpus": _gpus(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _gpus() -> int | None:
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.count("UUID: GPU") if done.returncode == 0 else None


if __name__ == "__main__":
    print(json.dumps(answer(*json.loads(sys.argv[1]))))
