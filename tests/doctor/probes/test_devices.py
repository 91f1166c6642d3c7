"""What the driver shows, read from output as it prints it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from zerotrain.doctor.machine import Device
from zerotrain.doctor.probes.devices import driver

SMI = """#!/bin/sh
case "$1" in
--query-gpu=*)
    echo '0, NVIDIA H200, 143771, 143160, Disabled'
    echo '1, NVIDIA GH200 480GB, [N/A], [N/A], [N/A]';;
*) echo '| NVIDIA-SMI 580.82.07    Driver Version: 580.82.07    CUDA Version: 13.0 |';;
esac
"""
MIB = 2**20


def tool(folder: Path, text: str) -> None:
    (folder / "nvidia-smi").write_text(text)
    (folder / "nvidia-smi").chmod(0o755)


def test_devices_are_read_from_the_table_of_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path, SMI)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = driver()

    assert found is not None
    assert (found.version, found.cuda) == ("580.82.07", "13.0")
    assert found.devices[0] == Device(0, "NVIDIA H200", 143771 * MIB, 143160 * MIB, mig=False)
    assert (found.devices[1].memory, found.devices[1].mig) == (0, False)


def test_a_driver_that_fails_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path, "#!/bin/sh\necho 'NVIDIA-SMI has failed because it could not communicate with the driver'; exit 9\n")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert driver() is None


def test_without_one_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert driver() is None


@pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="this machine has no NVIDIA driver")
def test_the_real_driver_answers() -> None:
    found = driver()

    assert found is not None
    assert all(device.name for device in found.devices)
