"""The environment of the ranks: what is set, by whom, and what other machines get of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from zerotrain.hardware.probe import cpu_count
from zerotrain.launch.job import Job, Order
from zerotrain.spec.environment import SET_BY_LAUNCHERS, SET_BY_ZEROTRAIN, is_passed_on, is_secret


@dataclass(frozen=True)
class Variable:
    """One line of the table that `--dry-run` shows."""

    name: str
    value: str
    source: str
    """Who sets it, and why."""


def shared_environment(order: Order) -> dict[str, str]:
    """Returns the variables every rank gets, whichever machine it is on."""
    launch = order.spec.launch
    variables = {
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "DEEPSPEED_TIMEOUT": str(ceil(launch.timeout.seconds / 60)),
    }
    if not order.has_gpus:
        threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cpu_count() // order.topology.gpus_per_node))
        variables |= {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": threads}
    return variables | launch.environment


def passed_on() -> dict[str, str]:
    """Returns the variables of this process that other machines get as well; secrets are not among them."""
    return {name: value for name, value in sorted(os.environ.items()) if is_passed_on(name)}


def environment_table(job: Job, given: Mapping[str, str]) -> list[Variable]:
    """Returns what the ranks of a job get, by name; `given` is `launch.environment`."""
    names = {name for command in job.commands for name in command.environment}
    return [_row(job, name, given) for name in sorted(names)]


def _row(job: Job, name: str, given: Mapping[str, str]) -> Variable:
    values = dict.fromkeys(command.environment[name] for command in job.commands if name in command.environment)
    shown = "…" if is_secret(name) else ", ".join(values)
    return Variable(name, shown, _source(name, given))


def _source(name: str, given: Mapping[str, str]) -> str:
    if name in given:
        return "launch.environment"
    return f"the launcher: {SET_BY_LAUNCHERS[name]}" if name in SET_BY_LAUNCHERS else _reason(name)


def _reason(name: str) -> str:
    return f"zerotrain: {SET_BY_ZEROTRAIN[name]}" if name in SET_BY_ZEROTRAIN else "zerotrain"
