"""DeepSpeed configs: known bugs of DeepSpeed, by version."""

from __future__ import annotations

from zerotrain.check.rule import Rule

RULES: tuple[Rule, ...] = ()
