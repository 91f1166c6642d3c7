"""Every code that exists, in order. A code is never used again for something else."""

from __future__ import annotations

from zerotrain.check.rule import Rule
from zerotrain.check.rules import batch, data, launch, parallel, precision, reading, runs, versions, zero

RULES: tuple[Rule, ...] = (
    *reading.RULES,
    *batch.RULES,
    *precision.RULES,
    *zero.RULES,
    *parallel.RULES,
    *data.RULES,
    *runs.RULES,
    *launch.RULES,
    *versions.RULES,
)
"""All rules and pages."""


def find_rule(code_or_name: str) -> Rule | None:
    """Returns the rule with a code or a name, in any case, or None."""
    wanted = code_or_name.lower()
    return next((rule for rule in RULES if wanted in (rule.code.lower(), rule.name)), None)
