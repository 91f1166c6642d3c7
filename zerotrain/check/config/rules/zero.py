"""DeepSpeed configs: ZeRO and ZeRO++."""

from __future__ import annotations

from zerotrain.check.rule import Rule

RULES: tuple[Rule, ...] = ()
