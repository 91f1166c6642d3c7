"""What NVIDIA's driver shows."""

from __future__ import annotations

import re
import subprocess

from zerotrain.doctor.machine import Device, Driver

_FIELDS = "index,name,memory.total,memory.free,mig.mode.current"
_SECONDS = 20
_MIB = 2**20


def driver() -> Driver | None:
    """Returns the driver and all devices, those a process may not see too; None without one."""
    about = _smi()
    versions = [re.search(rf"{name}:\s*(\d[\d.]*)", about or "") for name in ("Driver Version", "CUDA Version")]
    listed = _smi(f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits")
    if listed is None or not all(versions):
        return None
    version, cuda = (match[1] for match in versions if match)
    return Driver(version, cuda, tuple(_device(line) for line in listed.splitlines() if line.strip()))


def _device(line: str) -> Device:
    index, name, memory, free, mig = (word.strip() for word in line.split(","))
    return Device(int(index), name, _bytes(memory), _bytes(free), mig == "Enabled")


def _bytes(mebibytes: str) -> int:
    """Returns bytes; 0 where the driver says `[N/A]`, as for devices that share the memory of the host."""
    return int(mebibytes) * _MIB if mebibytes.isdigit() else 0


def _smi(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
