"""Whether ranks can find each other."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.diagnostic import Diagnostic, error, warning
from zerotrain.doctor.checks.check import Check
from zerotrain.doctor.machine import Machine
from zerotrain.doctor.need import Need


def unknown_interface(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """Interfaces that are chosen and not there."""
    for variable, written in machine.network.chosen.items():
        gone = _gone(variable, written, machine.network.interfaces)
        if gone:
            there = ", ".join(machine.network.interfaces)
            message = f"`{variable}` is `{written}`, and this machine has no interface `{gone}`"
            yield error("ZT867", "unknown-interface", message, help=f"it has {there}; or unset {variable}")


def unknown_hostname(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """A name of this machine that nothing knows, by which gloo looks for an interface."""
    if machine.network.address is None:
        message = f"nothing knows an address of this machine's name `{machine.network.hostname}`"
        help = f"add `127.0.0.1 {machine.network.hostname}` to /etc/hosts, or set GLOO_SOCKET_IFNAME"
        yield warning("ZT868", "unknown-hostname", message, help=help)


def no_loopback(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """A machine that cannot connect to itself."""
    if machine.network.loopback_problem is not None:
        message = f"a process cannot connect to another at 127.0.0.1: {machine.network.loopback_problem}"
        yield error("ZT869", "no-loopback", message, help="`ip link set lo up`, or look at the firewall")


def taken_port(machine: Machine, need: Need) -> Iterator[Diagnostic]:
    """The port that a worker which is started by hand would use."""
    network = machine.network
    if network.master_port_problem is not None:
        message = f"`MASTER_PORT` is `{network.master_port}`, where nothing can listen: {network.master_port_problem}"
        help = "choose another or unset it; `zerotrain train` finds a free port by itself"
        yield warning("ZT870", "taken-port", message, help=help)


def _gone(variable: str, written: str, interfaces: tuple[str, ...]) -> str | None:
    """Returns the first interface that is not there.

    gloo takes names. NCCL takes beginnings of names, or whole ones behind `=`, and leaves out those behind `^`.
    """
    if written.startswith("^"):
        return None
    names = [name for name in written.removeprefix("=").split(",") if name]
    is_whole = variable.startswith("GLOO") or written.startswith("=")
    gone = [name for name in names if not any(i == name if is_whole else i.startswith(name) for i in interfaces)]
    return gone[0] if gone and (is_whole or len(gone) == len(names)) else None


def _network(machine: Machine, need: Need) -> str:
    network = machine.network
    chosen = [f"{variable}={written}" for variable, written in network.chosen.items()]
    named = f"{network.hostname} is {network.address}" if network.address else network.hostname
    return ", ".join([named, f"interfaces {' '.join(network.interfaces)}", *chosen])


CHECKS = (Check("network", _network, (unknown_interface, unknown_hostname, no_loopback, taken_port)),)
"""What is looked at, in the order of the report."""
