"""How this machine reaches itself."""

from __future__ import annotations

import socket

import pytest

from zerotrain.doctor.probes.network import address_of, network


def test_this_machine_has_a_loopback_and_no_choice_made(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTER_PORT", "NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"):
        monkeypatch.delenv(name, raising=False)
    found = network()

    assert found.loopback_problem is None
    assert "lo" in found.interfaces
    assert (found.chosen, found.master_port, found.master_port_problem) == ({}, None, None)


def test_what_the_environment_chooses_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "ib0")

    assert network().chosen["NCCL_SOCKET_IFNAME"] == "ib0"


def test_a_port_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("", 0)) as server:
        monkeypatch.setenv("MASTER_PORT", str(server.getsockname()[1]))
        assert network().master_port_problem == "address already in use"
    assert network().master_port_problem is None
    monkeypatch.setenv("MASTER_PORT", "many")
    assert network().master_port_problem == "it is not a port"


def test_names_and_addresses() -> None:
    assert address_of("localhost") in ("127.0.0.1", "::1")
    assert address_of("a-machine-that-is-not-there.invalid") is None
