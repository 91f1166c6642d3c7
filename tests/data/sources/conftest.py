"""Reading a source to its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from zerotrain.data.sources.record import Record
from zerotrain.data.sources.table import SOURCES
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.sources import SourceSpec

Read = Callable[..., tuple[list[Record], list[Diagnostic]]]


@pytest.fixture
def read() -> Read:
    """Reads a source of a type: `read("jsonl", path, columns={"text": "review"})`."""

    def run(type: str, path: Path | str, **fields: Any) -> tuple[list[Record], list[Diagnostic]]:
        problems: list[Diagnostic] = []
        place = "id" if type == "hub" else "path"
        source: Any = TypeAdapter(SourceSpec).validate_python({"type": type, place: str(path), **fields})
        return list(SOURCES[type](source, "data.train[0]", problems)), problems

    return run
