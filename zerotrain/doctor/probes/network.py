"""Names, addresses and ports of this machine."""

from __future__ import annotations

import os
import socket
import subprocess

from zerotrain.doctor.machine import Network
from zerotrain.errors import reason_of

INTERFACES = ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME")
"""Variables that choose the interface of a communication library."""

_SECONDS = 3


def network() -> Network:
    """Returns what ranks meet by."""
    port = os.environ.get("MASTER_PORT")
    return Network(
        hostname=socket.gethostname(),
        address=address_of(socket.gethostname()),
        loopback_problem=_loopback_problem(),
        interfaces=tuple(name for _, name in socket.if_nameindex()),
        chosen={name: value for name in INTERFACES if (value := os.environ.get(name))},
        master_port=port,
        master_port_problem=_port_problem(port) if port else None,
    )


def address_of(name: str) -> str | None:
    """Returns the first address of a machine's name; None when nothing knows it, or not soon."""
    try:
        done = subprocess.run(["getent", "ahosts", name], capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.split()[0] if done.returncode == 0 and done.stdout else None


def _loopback_problem() -> str | None:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=_SECONDS).close()
    except OSError as failure:
        return reason_of(failure)
    return None


def _port_problem(port: str) -> str | None:
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        return "it is not a port"
    try:
        socket.create_server(("", int(port))).close()
    except OSError as failure:
        # `create_server` puts the address into the text.
        return os.strerror(failure.errno).lower() if failure.errno else reason_of(failure)
    return None
