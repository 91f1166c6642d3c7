"""Checking small specs, and what a finding points at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from zerotrain.check.case import Case
from zerotrain.check.runner import check_file
from zerotrain.diagnostic import Diagnostic
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.spec.load import load_spec

TINY = Path(__file__).parents[1] / "golden" / "tiny.yaml"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small spec with sections replaced, added, or left out (`None`)."""

    def run(**sections: str | None) -> Path:
        lines = dict(line.split(": ", 1) for line in TINY.read_text(encoding="utf-8").splitlines())
        file = tmp_path / "run.yaml"
        given = lines | sections
        file.write_text("".join(f"{name}: {value}\n" for name, value in given.items() if value is not None))
        return file

    return run


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    """Relative paths start in the directory of the spec."""
    return Surroundings(directory=tmp_path, cache=tmp_path / "cache")


@pytest.fixture
def findings(write: Callable[..., Path], around: Surroundings) -> Callable[..., list[Diagnostic]]:
    """Returns every finding about a small spec."""

    def run(
        *, overrides: Sequence[str] = (), world_size: int | None = None, **sections: str | None
    ) -> list[Diagnostic]:
        return check_file(write(**sections), around, overrides, world_size)

    return run


@pytest.fixture
def one(findings: Callable[..., list[Diagnostic]]) -> Callable[..., Diagnostic]:
    """Returns the finding about a small spec in which exactly one thing is to be said."""

    def run(**arguments: object) -> Diagnostic:
        found = findings(**arguments)
        assert len(found) == 1, [f"{f.code}: {f.message}" for f in found]
        return found[0]

    return run


@pytest.fixture
def case(write: Callable[..., Path], around: Surroundings) -> Callable[..., Case]:
    """Returns the case of a small valid spec."""

    def make(*, world_size: int | None = None, **sections: str | None) -> Case:
        return Case(load_spec(write(**sections)), around, world_size)

    return make


@pytest.fixture
def caret() -> Callable[[Diagnostic], str]:
    """Returns the text that the carets of a finding stand under."""

    def under(finding: Diagnostic) -> str:
        place = finding.place
        assert place.source_line is not None and place.column is not None
        return place.source_line[place.column - 1 : place.column - 1 + place.width]

    return under
