"""Every code that exists, in order. A code is never used again for something else."""

from __future__ import annotations

from zerotrain.check.config.rules import TABLES as CONFIG_TABLES
from zerotrain.check.rule import Rule
from zerotrain.check.rules import TABLES as SPEC_TABLES

RULES: tuple[Rule, ...] = tuple(
    sorted((rule for table in (*SPEC_TABLES, *CONFIG_TABLES) for rule in table), key=lambda rule: rule.code)
)
"""All rules and pages."""

CODES = tuple(rule.code for rule in RULES)
"""The codes alone."""


def find_rule(code_or_name: str) -> Rule | None:
    """Returns the rule with a code or a name, in any case, or None."""
    wanted = code_or_name.lower()
    return next((rule for rule in RULES if wanted in (rule.code.lower(), rule.name)), None)
