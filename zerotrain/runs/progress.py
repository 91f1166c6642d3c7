"""A row of metrics as a line for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zerotrain.units import format_count, format_seconds

_OF_A_CLASSIFIER = ("loss", "accuracy", "f1_macro")


def training_line(row: Mapping[str, Any], total_steps: int, seconds_left: float | None) -> str:
    """Returns `step 120/200  loss 3.412  lr 2.1e-04  48.1K tokens/s  1m 20s left`."""
    width = len(str(total_steps))
    parts = [
        f"step {row['step']:>{width}}/{total_steps}",
        f"loss {_number(row['loss'], '.4f')}",
        f"lr {_number(row['lr'], '.2e')}",
        f"grad norm {_number(row['grad_norm'], '.3f')}",
        _throughput(row),
    ]
    if seconds_left is not None:
        parts.append(f"{format_seconds(seconds_left)} left")
    return "  ".join(parts)


def evaluation_line(row: Mapping[str, Any], total_steps: int) -> str:
    """Returns `step 100/200  validation loss 3.512  perplexity 33.5`."""
    width = len(str(total_steps))
    metrics = "  ".join(f"{name} {_number(value, '.4g')}" for name, value in _few(row["metrics"]).items())
    return f"step {row['step']:>{width}}/{total_steps}  validation {metrics}"


def _few(metrics: Mapping[str, float]) -> Mapping[str, float]:
    """Returns what a line has room for: of a classifier's many metrics three."""
    if "f1_macro" not in metrics:
        return metrics
    return {name: metrics[name] for name in _OF_A_CLASSIFIER if name in metrics}


def _throughput(row: Mapping[str, Any]) -> str:
    tokens = float(row["tokens_per_second"])
    return (
        f"{format_count(tokens)} tokens/s" if tokens else f"{format_count(float(row['samples_per_second']))} images/s"
    )


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
