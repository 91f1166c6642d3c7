"""Where DeepSpeed's ops are compiled."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from pathlib import Path

from zerotrain.hardware.probe import surroundings
from zerotrain.hardware.software import installed_version

CHOSEN = "TORCH_EXTENSIONS_DIR"
"""Variable by which torch is told (torch/utils/cpp_extension.py)."""

_CPU = Path("/proc/cpuinfo")
_TELLING = ("model name", "flags", "Features", "CPU part")


def build_root() -> Path:
    """Returns what `TORCH_EXTENSIONS_DIR` says, or a directory of this environment's and kind of machine's own.

    torch's usual one is shared by all environments of a user, and by all machines that share a home. Compilers are told
    to use every instruction of the processor, so that what one machine compiled may end another's processes; and two
    environments compile the same ops anew in turns, while ranks have them open.
    """
    chosen = os.environ.get(CHOSEN)
    return Path(chosen) if chosen else surroundings().cache.parent / "torch_extensions" / f"zerotrain-{_own()}"


def _own() -> str:
    facts = [sys.prefix, platform.python_version(), installed_version("torch"), installed_version("deepspeed"), *_cpu()]
    return hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest()[:12]


def _cpu() -> list[str]:
    """Returns the lines that tell what the first processor can do."""
    try:
        first = _CPU.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:
        return [platform.machine(), platform.processor()]
    return [line for line in first.splitlines() if line.startswith(_TELLING)]
