"""Small specs as text, and what a finding points at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.load import Reading, read_spec

TINY = Path(__file__).parents[1] / "golden" / "tiny.yaml"


@pytest.fixture
def tiny() -> Callable[..., str]:
    """Returns the text of a small spec, a section to a line, with sections replaced, added, or left out (`None`)."""

    def text(**sections: str | None) -> str:
        lines = dict(line.split(": ", 1) for line in TINY.read_text(encoding="utf-8").splitlines())
        return "".join(f"{name}: {value}\n" for name, value in (lines | sections).items() if value is not None)

    return text


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Reading]:
    """Reads a text as a spec."""

    def run(text: str | bytes, overrides: Sequence[str] = (), name: str = "run.yaml") -> Reading:
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_spec(file, overrides)

    return run


@pytest.fixture
def caret() -> Callable[[Diagnostic], str]:
    """Returns the text that the carets of a finding stand under."""

    def under(finding: Diagnostic) -> str:
        place = finding.place
        assert place.source_line is not None and place.column is not None
        return place.source_line[place.column - 1 : place.column - 1 + place.width]

    return under


@pytest.fixture
def only(read: Callable[..., Reading]) -> Callable[..., Diagnostic]:
    """Reads a text in which exactly one thing is wrong, and returns the finding."""

    def run(text: str, overrides: Sequence[str] = (), name: str = "run.yaml") -> Diagnostic:
        findings = read(text, overrides, name).findings
        assert len(findings) == 1, [f"{f.code}: {f.message}" for f in findings]
        return findings[0]

    return run
