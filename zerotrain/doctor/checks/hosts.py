"""The machines of a hostfile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from zerotrain.diagnostic import Diagnostic, Place, error, warning
from zerotrain.doctor.checks.check import Check
from zerotrain.doctor.machine import Answer, Host, Machine
from zerotrain.doctor.need import Need

_KEY = "launch.hostfile"
_SKEW = 1.0
"""Seconds by which clocks may differ before times in logs and metrics mislead."""

_REMEDIES = (
    ("Permission denied", "`ssh-copy-id {host}`: the launcher cannot type a password"),
    ("Host key verification failed", "`ssh {host}` once, and accept its key"),
    ("Could not resolve hostname", "write its address, or its name into /etc/hosts"),
    ("Connection refused", "start its sshd"),
    ("interpreter", "install the same environment at the same place on every machine"),
    ("timed out", "see whether it is up, and what a firewall lets through"),
)


def bad_hostfile(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """A hostfile that cannot be read, or that DeepSpeed refuses."""
    hosts = machine.hosts
    if hosts is None:
        return
    if hosts.problem is not None:
        message = f"the hostfile `{hosts.path}` cannot be read: {hosts.problem}"
        help = "DeepSpeed would go on without a word, on this machine alone; give its path from where you start"
        yield error("ZT871", "bad-hostfile", message, help=help, key=_KEY)
    if hosts.bad is not None:
        bad = hosts.bad
        place = Place(hosts.path, bad.line, 1, source_line=bad.text, width=max(1, len(bad.text)))
        help = "write lines such as `worker-1 slots=8`, each machine once"
        yield error("ZT871", "bad-hostfile", bad.problem, help=help).at(place)


def too_few_hosts(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Fewer machines than the run is meant for, or fewer slots on one of them."""
    hosts = machine.hosts
    if hosts is None or hosts.problem or hosts.bad:
        return
    if len(hosts.hosts) < need.nodes:
        message = f"the hostfile has {len(hosts.hosts)} machines to use, and the run is meant for {need.nodes}"
        yield error("ZT872", "too-few-hosts", message, help="add lines, or change `hardware.num_nodes`", key=_KEY)
    for host in hosts.hosts:
        if host.slots < need.ranks:
            message = f"`{host.name}` has {host.slots} slots, and the run is meant for {need.ranks} on each machine"
            finding = error("ZT872", "too-few-hosts", message, help="change `slots`, or `hardware.gpus_per_node`")
            yield _at(finding, machine, host)


def no_pdsh(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """The program is missing with which DeepSpeed starts ranks on other machines."""
    if machine.hosts is not None and len(machine.hosts.hosts) > 1 and machine.hosts.pdsh is None:
        message = "DeepSpeed starts ranks on several machines with `pdsh`, and there is none"
        yield error("ZT873", "no-pdsh", message, help="`apt-get install pdsh`")


def silent_host(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Machines that do not answer over ssh."""
    for host in _hosts(machine):
        if host.problem is not None:
            ways = (way for sign, way in _REMEDIES if sign in (host.problem or ""))
            help = next(ways, "see `ssh -o BatchMode=yes {host} hostname`").format(host=host.name)
            finding = error("ZT874", "silent-host", f"`{host.name}` does not answer: {host.problem}", help=help)
            yield _at(finding, machine, host)


def differing_host(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Machines with other versions than this one."""
    here = machine.hosts.here if machine.hosts else None
    for host in _hosts(machine):
        if here is None or host.answer is None:
            continue
        there, ours = _versions(host.answer), _versions(here)
        other = [f"{name} {there[name]} for {ours[name]}" for name in ours if there[name] != ours[name]]
        if other:
            message = f"`{host.name}` has other versions than this machine: {', '.join(other)}"
            finding = error("ZT875", "differing-host", message, help="install the same versions on every machine")
            yield _at(finding, machine, host)


def missing_path(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Machines that do not see the working directory, the spec or the data."""
    for host in _hosts(machine):
        if host.answer is not None and host.answer.missing:
            named = ", ".join(f"`{path}`" for path in host.answer.missing)
            help = "start from a directory that all machines share"
            yield _at(error("ZT876", "missing-path", f"`{host.name}` has no {named}", help=help), machine, host)


def too_few_gpus(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Machines with fewer GPUs than slots."""
    for host in _hosts(machine):
        gpus = host.answer.gpus if host.answer else None
        if need.on_gpu and gpus is not None and gpus < host.slots:
            message = f"`{host.name}` has {gpus} GPUs, and the hostfile gives it {host.slots} slots"
            yield _at(error("ZT857", "too-few-gpus", message, help="lower `slots`"), machine, host)


def wrong_clock(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Machines whose clocks differ from ours."""
    for host in _hosts(machine):
        if abs(host.skew) > _SKEW:
            which = "ahead of" if host.skew > 0 else "behind"
            message = f"the clock of `{host.name}` is {abs(host.skew):.0f}s {which} this machine's"
            help = "let both follow a time server (`chronyd`, `systemd-timesyncd`)"
            yield _at(warning("ZT877", "wrong-clock", message, help=help), machine, host)


def _hosts(machine: Machine) -> tuple[Host, ...]:
    return machine.hosts.hosts if machine.hosts else ()


def _at(finding: Diagnostic, machine: Machine, host: Host) -> Diagnostic:
    assert machine.hosts is not None, "a machine of it was looked at"
    return replace(finding, place=Place(machine.hosts.path, host.line, 1, width=len(host.name)))


def _versions(answer: Answer) -> dict[str, str | None]:
    return {"python": answer.python, **answer.packages}


def _machines(machine: Machine, need: Need) -> str | None:
    hosts = machine.hosts
    if hosts is None:
        return None
    answered = [host for host in hosts.hosts if host.answer is not None]
    return f"{len(answered)} of {len(hosts.hosts)} machines in {hosts.path} answer"


def _others(machine: Machine, need: Need) -> str | None:
    is_answered = any(host.answer is not None for host in _hosts(machine))
    return "versions, paths, GPUs and clocks beside ours" if is_answered else None


CHECKS = (
    Check("hostfile", _machines, (bad_hostfile, too_few_hosts, no_pdsh, silent_host)),
    Check("other machines", _others, (differing_host, missing_path, too_few_gpus, wrong_clock)),
)
"""What is looked at, in the order of the report."""
