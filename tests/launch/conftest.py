"""Orders to launchers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from zerotrain.hardware.topology import topology_of
from zerotrain.launch.job import Order
from zerotrain.runs.layout import RunDirectory
from zerotrain.spec.load import load_spec

TINY = Path(__file__).parents[1] / "golden" / "tiny.yaml"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests has their own devices and threads."""
    for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


@pytest.fixture
def order(tmp_path: Path) -> Callable[..., Order]:
    """Returns the order for attempt 3 of the run `runs/tiny`, whose ranks meet at port 29501."""

    def make(**sections: str) -> Order:
        lines = dict(line.split(": ", 1) for line in TINY.read_text(encoding="utf-8").splitlines())
        file = tmp_path / "run.yaml"
        file.write_text("".join(f"{name}: {value}\n" for name, value in (lines | sections).items()))
        spec = load_spec(file)
        return Order(RunDirectory(Path("runs") / spec.name), spec, topology_of(spec.hardware, spec.parallel), 3, 29501)

    return make
