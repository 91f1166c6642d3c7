"""Small specs, settled and compiled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zerotrain.compile.dsconfig import DeepSpeedConfig, Target
from zerotrain.compile.emit import compile_spec
from zerotrain.compile.facts import DataFacts
from zerotrain.compile.model import shape_of
from zerotrain.compile.resolve import Resolved, resolve
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.spec.load import load_spec
from zerotrain.spec.run import RunSpec

TINY = Path(__file__).parents[1] / "golden" / "tiny.yaml"
AROUND = Surroundings(directory=Path("/work-dir"), cache=Path("/cache-dir"))


@pytest.fixture
def spec(tmp_path: Path) -> Callable[..., RunSpec]:
    """Reads a small spec with sections replaced, added, or left out (`None`)."""

    def read(**sections: str | None) -> RunSpec:
        lines = dict(line.split(": ", 1) for line in TINY.read_text(encoding="utf-8").splitlines())
        file = tmp_path / "run.yaml"
        file.write_text("".join(f"{name}: {value}\n" for name, value in (lines | sections).items() if value))
        return load_spec(file)

    return read


@pytest.fixture
def facts() -> Callable[..., DataFacts]:
    """Returns what might be measured of prepared data."""

    def measured(train_samples: int = 1000, **changes: Any) -> DataFacts:
        usual: dict[str, Any] = {
            "fingerprint": "f",
            "tokenizer_fingerprint": "t",
            "vocab_size": 300,
            "eos_token_id": 256,
            "pad_token_id": 256,
            "train_samples": train_samples,
            "train_tokens": 31_000,
            "validation_samples": 0,
            "validation_tokens": 0,
        }
        return DataFacts(**{**usual, **changes})

    return measured


@pytest.fixture
def settled(spec: Callable[..., RunSpec]) -> Callable[..., Resolved]:
    """Settles a small spec."""

    def run(*, world_size: int | None = None, facts: DataFacts | None = None, **sections: str | None) -> Resolved:
        read = spec(**sections)
        return resolve(read, AROUND, shape=shape_of(read), world_size=world_size, facts=facts)

    return run


@pytest.fixture
def compiled(settled: Callable[..., Resolved]) -> Callable[..., DeepSpeedConfig]:
    """Compiles a small spec."""

    def run(target: Target = "zerotrain", **sections: str | None) -> DeepSpeedConfig:
        return compile_spec(settled(**sections), target)

    return run
