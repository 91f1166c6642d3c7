"""DeepSpeed configs: kinds and ranges of values."""

from __future__ import annotations

from zerotrain.check.rule import Rule

RULES: tuple[Rule, ...] = ()
