"""DeepSpeed configs: optimizer and clipping."""

from __future__ import annotations

from zerotrain.check.rule import Rule

RULES: tuple[Rule, ...] = ()
