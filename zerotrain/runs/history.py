"""What `metrics.jsonl` says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from zerotrain.runs.layout import RunDirectory


def rows(run: RunDirectory, kind: str | None = None) -> Iterator[dict[str, Any]]:
    """Yields the lines of the metrics in the order they were written; a damaged line is left out."""
    if not run.metrics.is_file():
        return
    with run.metrics.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and (kind is None or row.get("kind") == kind):  # type: ignore[reportUnknownMemberType]
                yield row


def curve(run: RunDirectory) -> dict[int, dict[str, Any]]:
    """Returns the training line of every step; of a step trained twice, after a resume, the later one."""
    return {row["step"]: row for row in rows(run, "train")}
