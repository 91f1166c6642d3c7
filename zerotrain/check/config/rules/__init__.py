"""Rules about DeepSpeed configs: anyone's, and those that specs are compiled to."""

from __future__ import annotations

from zerotrain.check.config.rules import (
    batch,
    bugs,
    checkpoints,
    compilation,
    experts,
    features,
    keys,
    offload,
    optimizer,
    parallel,
    precision,
    sampling,
    schedule,
    values,
    zero,
)
from zerotrain.check.rule import Rule

TABLES: tuple[tuple[Rule, ...], ...] = (
    keys.RULES,
    values.RULES,
    batch.RULES,
    precision.RULES,
    optimizer.RULES,
    schedule.RULES,
    zero.RULES,
    offload.RULES,
    parallel.RULES,
    experts.RULES,
    features.RULES,
    sampling.RULES,
    compilation.RULES,
    checkpoints.RULES,
    bugs.RULES,
)
