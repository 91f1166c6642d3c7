"""Rules about specs, and the pages of what others report."""

from __future__ import annotations

from zerotrain.check.rule import Rule
from zerotrain.check.rules import adapters, batch, data, launch, optimizer, parallel, precision, reading, runs, zero

TABLES: tuple[tuple[Rule, ...], ...] = (
    reading.RULES,
    batch.RULES,
    optimizer.RULES,
    precision.RULES,
    zero.RULES,
    parallel.RULES,
    data.RULES,
    runs.RULES,
    adapters.RULES,
    launch.RULES,
)
