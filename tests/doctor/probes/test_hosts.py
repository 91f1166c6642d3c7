"""Machines of a hostfile, asked over a real ssh."""

from __future__ import annotations

import getpass
import platform
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from deepspeed.launcher.runner import fetch_hostfile

from zerotrain.doctor.machine import Hosts
from zerotrain.doctor.probes.hosts import hosts, parse_hostfile
from zerotrain.hardware.probe import free_port

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
CAN_SSH = Path(SSHD).exists() and shutil.which("ssh") is not None and shutil.which("ssh-keygen") is not None

Ask = Callable[..., Hosts]


def everyone(name: str) -> bool:
    return True


@pytest.mark.parametrize(
    "text",
    [
        "worker-1 slots=4\nworker-2 slots=8\n",
        "# all\n\n  worker-1   slots=4 # fast\n",
        "worker-1 slots=4\nworker-1 slots=4\n",
        "worker-1: 4\n",
        "worker-1 slots=x\n",
        "worker-1\n",
        "# none\n",
        "",
    ],
)
def test_a_hostfile_is_read_as_deepspeed_reads_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "hosts").write_text(text)
    found, bad = parse_hostfile(text)
    try:
        expected = dict(fetch_hostfile(str(tmp_path / "hosts")))
    except ValueError:
        assert bad is not None
        return

    assert bad is None
    assert {host.name: host.slots for host in found} == expected


def test_the_line_that_is_refused_is_named() -> None:
    _, bad = parse_hostfile("# all\nworker-1 slots=4\nworker-1 slots=4\n")

    assert bad is not None
    assert (bad.line, bad.problem) == (3, "`worker-1` stands in line 2 already")


def test_a_hostfile_that_is_not_there(tmp_path: Path) -> None:
    assert hosts(tmp_path / "gone", (), everyone).problem == "no such file or directory"


@dataclass(frozen=True)
class Server:
    """An ssh server of this test's own."""

    directory: Path
    port: int


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Starts an sshd on the loopback, with keys of its own."""
    if not CAN_SSH:
        pytest.skip("openssh-server and openssh-client are not installed")
    directory = tmp_path_factory.mktemp("ssh")
    for name in ("host", "user", "stranger"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(make, check=True)
    (directory / "authorized_keys").write_text((directory / "user.pub").read_text())
    port = free_port()
    options = {
        "HostKey": directory / "host",
        "AuthorizedKeysFile": directory / "authorized_keys",
        "ListenAddress": "127.0.0.1",
        "Port": port,
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
    }
    (directory / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    Path("/run/sshd").mkdir(exist_ok=True)
    with subprocess.Popen([SSHD, "-D", "-e", "-f", str(directory / "sshd_config")], stderr=subprocess.DEVNULL) as sshd:
        try:
            wait_for(port)
            yield Server(directory, port)
        finally:
            sshd.terminate()


def wait_for(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.skip("sshd does not start here")


@pytest.fixture
def ask(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Asks machines of a hostfile that all lead to the server; `closed` leads nowhere."""

    def run(text: str, paths: tuple[Path, ...] = (), key: str = "user") -> Hosts:
        known = tmp_path / "known_hosts"
        common = f"HostName 127.0.0.1\n User {getpass.getuser()}\n IdentityFile {server.directory / key}\n"
        common += f" IdentitiesOnly yes\n StrictHostKeyChecking accept-new\n UserKnownHostsFile {known}\n"
        config = tmp_path / "config"
        config.write_text(f"Host closed\n Port {free_port()}\nHost *\n Port {server.port}\n {common}")
        monkeypatch.setenv("PDSH_SSH_ARGS_APPEND", shlex.join(["-F", str(config)]))
        (tmp_path / "hosts").write_text(text)
        return hosts(tmp_path / "hosts", paths, everyone)

    return run


def test_a_machine_answers_with_what_this_one_answers(ask: Ask, tmp_path: Path) -> None:
    found = ask("worker-1 slots=2\n", (tmp_path, tmp_path / "gone"))
    (host,) = found.hosts

    assert host.problem is None
    assert host.answer is not None
    assert found.here is not None
    assert (host.answer.hostname, host.answer.python) == (platform.node(), platform.python_version())
    assert host.answer.packages == found.here.packages
    assert host.answer.missing == (str(tmp_path / "gone"),)
    assert abs(host.skew) < 0.1


def test_one_that_is_closed_does_not_hide_the_others(ask: Ask) -> None:
    closed, other = ask("closed slots=1\nworker-2 slots=1\n").hosts

    assert closed.answer is None
    assert closed.problem is not None
    assert "Connection refused" in closed.problem
    assert other.answer is not None


def test_a_key_that_is_not_known_there_is_refused_without_a_question(ask: Ask) -> None:
    (host,) = ask("worker-1 slots=1\n", key="stranger").hosts

    assert host.problem is not None
    assert "Permission denied" in host.problem
