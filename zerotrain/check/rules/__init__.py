"""Rules about specs, and the pages of what others report."""

from __future__ import annotations

from zerotrain.check.rule import Rule
from zerotrain.check.rules import batch, data, launch, parallel, precision, reading, runs, sources, zero

TABLES: tuple[tuple[Rule, ...], ...] = (
    reading.RULES,
    batch.RULES,
    precision.RULES,
    zero.RULES,
    parallel.RULES,
    data.RULES,
    sources.RULES,
    runs.RULES,
    launch.RULES,
)
