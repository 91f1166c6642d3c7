"""The environment of the ranks: what is set, by whom, and what other machines get of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from zerotrain.hardware.probe import cpu_count
from zerotrain.launch.job import Job, Order
from zerotrain.spec.environment import SET_BY_LAUNCHERS, SET_BY_ZEROTRAIN, is_passed_on, is_secret
from zerotrain.spec.launch import KubernetesLaunch, LaunchSpec


@dataclass(frozen=True)
class Variable:
    """One line of the table that `--dry-run` shows."""

    name: str
    value: str
    source: str
    """Who sets it, and why."""


def shared_environment(order: Order) -> dict[str, str]:
    """Returns the variables every rank gets, whichever machine it is on."""
    if order.has_gpus:
        return settled_environment(order)
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cpu_count() // order.topology.gpus_per_node))
    return {"OMP_NUM_THREADS": threads} | settled_environment(order)


def settled_environment(order: Order) -> dict[str, str]:
    """Returns those of them that do not follow from the machine on which the ranks are started."""
    launch = order.spec.launch
    variables = {
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "DEEPSPEED_TIMEOUT": str(ceil(launch.timeout.seconds / 60)),
        **({} if order.has_gpus else {"DS_ACCELERATOR": "cpu"}),
    }
    return variables | launch.environment


def passed_on() -> dict[str, str]:
    """Returns the variables of this process that other machines get as well; secrets are not among them."""
    return {name: value for name, value in sorted(os.environ.items()) if is_passed_on(name)}


def environment_table(job: Job, launch: LaunchSpec) -> list[Variable]:
    """Returns what the ranks of a job get, by name."""
    parts = [job.environment, *(command.environment for command in job.commands)]
    return [_row(parts, name, launch) for name in sorted({name for part in parts for name in part})]


def _row(parts: Sequence[Mapping[str, str]], name: str, launch: LaunchSpec) -> Variable:
    if isinstance(launch, KubernetesLaunch) and name in launch.secrets:
        return Variable(name, "…", f"launch.secrets: {launch.secrets[name]}")
    values = dict.fromkeys(part[name] for part in parts if name in part)
    shown = "…" if is_secret(name) else ", ".join(values)
    return Variable(name, shown, _source(name, launch.environment))


def _source(name: str, given: Mapping[str, str]) -> str:
    if name in given:
        return "launch.environment"
    return f"the launcher: {SET_BY_LAUNCHERS[name]}" if name in SET_BY_LAUNCHERS else _reason(name)


def _reason(name: str) -> str:
    return f"zerotrain: {SET_BY_ZEROTRAIN[name]}" if name in SET_BY_ZEROTRAIN else "zerotrain"
