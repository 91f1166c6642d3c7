"""What `metrics.jsonl` says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
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


def evaluations(run: RunDirectory, last_step: int | None = None) -> dict[int, Mapping[str, float | None]]:
    """Returns the metrics of every evaluation up to a step, in the order of the steps.

    Of a step evaluated twice, after a resume, the later one counts. A metric that was not finite is None. Step 0, the
    untrained model, is left out: it is no result of training.
    """
    found = {row["step"]: row["metrics"] for row in rows(run, "eval")}
    return {step: found[step] for step in sorted(found) if step > 0 and (last_step is None or step <= last_step)}
