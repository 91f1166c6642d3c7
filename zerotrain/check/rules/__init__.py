"""Rules about specs, and the pages of what others report."""

from __future__ import annotations

from zerotrain.check.rule import Rule
from zerotrain.check.rules import (
    adapters,
    batch,
    data,
    dialogues,
    distill,
    doctor,
    experts,
    images,
    launch,
    masking,
    moe,
    optimizer,
    parallel,
    pipeline,
    precision,
    reading,
    runs,
    sequence_parallel,
    sources,
    tensor_parallel,
    watching,
    zero,
)

TABLES: tuple[tuple[Rule, ...], ...] = (
    reading.RULES,
    batch.RULES,
    optimizer.RULES,
    precision.RULES,
    zero.RULES,
    parallel.RULES,
    pipeline.RULES,
    tensor_parallel.RULES,
    sequence_parallel.RULES,
    experts.RULES,
    moe.RULES,
    data.RULES,
    sources.RULES,
    masking.RULES,
    images.RULES,
    dialogues.RULES,
    distill.RULES,
    runs.RULES,
    watching.RULES,
    adapters.RULES,
    launch.RULES,
    doctor.RULES,
)
