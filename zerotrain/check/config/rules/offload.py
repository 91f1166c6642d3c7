"""DeepSpeed configs: offload to CPU and NVMe."""

from __future__ import annotations

from zerotrain.check.rule import Rule

RULES: tuple[Rule, ...] = ()
