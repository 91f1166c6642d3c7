"""DeepSpeed configs: logging, monitors, checkpoints, data efficiency, compile."""

from __future__ import annotations

from zerotrain.check.rule import Rule

RULES: tuple[Rule, ...] = ()
