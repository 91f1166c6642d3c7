"""DeepSpeed configs: which keys stand in a config."""

from __future__ import annotations

from zerotrain.check.rule import Rule

RULES: tuple[Rule, ...] = ()
