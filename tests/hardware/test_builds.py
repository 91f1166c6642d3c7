"""Ops are compiled where no other environment and no other kind of machine compiles."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from torch.utils import cpp_extension

from zerotrain.engine.ops import compile_apart
from zerotrain.hardware import builds
from zerotrain.hardware.builds import build_root


@pytest.fixture(autouse=True)
def _unchosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", "")  # restored, though the test's own subject sets it
    monkeypatch.delenv("TORCH_EXTENSIONS_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_torch_compiles_there(tmp_path: Path) -> None:
    root = build_root()

    compile_apart()

    assert root.parent == tmp_path / "torch_extensions"
    assert Path(cpp_extension._get_build_directory("cpu_adam", verbose=False)) == root / "cpu_adam"
    assert build_root() == root


def test_a_directory_that_is_chosen_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "ops"))

    compile_apart()

    assert build_root() == tmp_path / "ops"
    assert Path(cpp_extension._get_build_directory("cpu_adam", verbose=False)) == tmp_path / "ops" / "cpu_adam"


def test_another_environment_and_another_processor_have_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = build_root()
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: other\nflags\t\t: sse2\ncpu MHz\t: 1\n\n")
    with monkeypatch.context() as changed:
        changed.setattr(sys, "prefix", "/somewhere/else")
        elsewhere = build_root()
    with monkeypatch.context() as changed:
        changed.setattr(builds, "_CPU", tmp_path / "cpuinfo")
        other = build_root()
        (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: other\nflags\t\t: sse2\ncpu MHz\t: 2\n\n")
        assert build_root() == other, "how fast it runs at the moment is nothing of its own"

    assert len({here, elsewhere, other}) == 3
    assert build_root() == here
