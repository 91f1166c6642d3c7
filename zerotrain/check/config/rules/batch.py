"""DeepSpeed configs: the batch triple."""

from __future__ import annotations

from zerotrain.check.rule import Rule

RULES: tuple[Rule, ...] = ()
