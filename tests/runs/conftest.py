"""Run directories as they are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from zerotrain.compile.emit import compile_spec
from zerotrain.compile.facts import DataFacts
from zerotrain.compile.model import shape_of
from zerotrain.compile.resolve import resolve
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.runs.create import NewRun
from zerotrain.runs.layout import RunDirectory
from zerotrain.spec.load import load_spec
from zerotrain.spec.run import RunSpec

TINY = Path(__file__).parents[1] / "golden" / "tiny.yaml"
AROUND = Surroundings(directory=Path("/work-dir"), cache=Path("/cache-dir"))


@pytest.fixture
def facts() -> DataFacts:
    """What might be measured of prepared data."""
    return DataFacts("print", "token-print", 257, 256, 256, 1000, 31_000, 10, 310)


@pytest.fixture
def spec(tmp_path: Path) -> Callable[..., RunSpec]:
    """Reads a small spec with sections replaced or added."""

    def read(overrides: Sequence[str] = (), **sections: str) -> RunSpec:
        lines = dict(line.split(": ", 1) for line in TINY.read_text(encoding="utf-8").splitlines())
        file = tmp_path / "written.yaml"
        file.write_text("".join(f"{name}: {value}\n" for name, value in (lines | sections).items()))
        return load_spec(file, overrides)

    return read


@pytest.fixture
def settled(spec: Callable[..., RunSpec], facts: DataFacts) -> Callable[..., RunSpec]:
    """Settles a small spec."""

    def run(overrides: Sequence[str] = (), **sections: str) -> RunSpec:
        read = spec(overrides, **sections)
        return resolve(read, AROUND, shape=shape_of(read), facts=facts).spec

    return run


@pytest.fixture
def new_run(spec: Callable[..., RunSpec], facts: DataFacts) -> Callable[..., NewRun]:
    """Returns everything that goes into the directory of a small run."""

    def make(**sections: str) -> NewRun:
        read = spec(**sections)
        resolved = resolve(read, AROUND, shape=shape_of(read), facts=facts)
        return NewRun(
            spec_text="name: tiny  # as written\n",
            overrides=["seed=7"],
            resolved=resolved,
            config=compile_spec(resolved),
            facts=facts,
            stores={"train": "/cache-dir/a", "validation": None, "tokenizer": "/cache-dir/t"},
            versions={"python": "3.11.7", "torch": None},
            git={"commit": "0" * 40, "dirty": True},
        )

    return make


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """An empty run directory."""
    directory = RunDirectory(tmp_path / "runs" / "tiny")
    directory.logs.mkdir(parents=True)
    directory.checkpoints.mkdir()
    return directory
