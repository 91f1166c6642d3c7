"""Every check, in the order of the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zerotrain.diagnostic import Diagnostic
from zerotrain.doctor.checks import builds, devices, hosts, network, software, storage
from zerotrain.doctor.checks.check import Check
from zerotrain.doctor.machine import Machine
from zerotrain.doctor.need import Need

CHECKS: tuple[Check, ...] = (
    *software.CHECKS,
    *builds.CHECKS,
    *devices.CHECKS,
    *storage.CHECKS,
    *network.CHECKS,
    *hosts.CHECKS,
)
"""What is looked at."""


@dataclass(frozen=True)
class Outcome:
    """What came of one check."""

    name: str
    fact: str
    findings: tuple[Diagnostic, ...]


def examine(machine: Machine, need: Need) -> Iterator[Outcome]:
    """Yields what came of each check that the run has to do with."""
    for check in CHECKS:
        found = tuple(finding for verdict in check.verdicts for finding in verdict(machine, need))
        fact = check.fact(machine, need)
        if found or fact is not None:
            yield Outcome(check.name, fact or "", found)
