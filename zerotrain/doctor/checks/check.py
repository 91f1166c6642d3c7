"""What a check is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from zerotrain.diagnostic import Diagnostic
from zerotrain.doctor.machine import Machine
from zerotrain.doctor.need import Need

Verdict = Callable[[Machine, Need], Iterator[Diagnostic]]


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    name: str
    fact: Callable[[Machine, Need], str | None]
    """What there is, in a few words; None when the run has nothing to do with it."""
    verdicts: tuple[Verdict, ...]
    """What is wrong with it."""


def trains_here(machine: Machine) -> bool:
    """Tells whether ranks run on this machine: not where it only starts them on others."""
    hosts = machine.hosts
    names = {host.answer.hostname for host in hosts.hosts if host.answer} if hosts else set[str]()
    return hosts is None or hosts.here is None or not names or hosts.here.hostname in names
