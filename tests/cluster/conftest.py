"""Real parts of clusters, on one machine."""

from __future__ import annotations

import copy
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from zerotrain.runs.attempts import attempts
from zerotrain.runs.history import curve
from zerotrain.runs.layout import RunDirectory

TINY: dict[str, Any] = {
    "name": "tiny",
    "model": {
        "architecture": "llama",
        "config": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    },
    "data": {
        "train": [{"type": "python_stdlib", "max_documents": 12}],
        "tokenizer": {"type": "bytes"},
        "seq_len": 64,
        "cache": "cache",
    },
    "batch": {"global_batch_size": 4, "micro_batch_size": 2},
    "optimizer": {"type": "adamw", "lr": 1.0e-2},
    "schedule": {"type": "constant"},
}


class Watched(RunDirectory):
    """A run directory that a test looks into while others write it."""

    def losses(self) -> list[float]:
        return [row["loss"] for _, row in sorted(curve(self).items())]

    def outcomes(self) -> list[str]:
        return [attempt.outcome for attempt in attempts(self)]

    def said(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.logs.rglob("*.log")))

    def wait_for(self, condition: Callable[[], Any], seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)


@pytest.fixture
def watched() -> type[Watched]:
    return Watched


@pytest.fixture
def tiny() -> dict[str, Any]:
    """A spec that trains in seconds; its horizon and hardware are left to the test."""
    return copy.deepcopy(TINY)


CONFIG = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd.log
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=0,sched_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={processors} State=UNKNOWN
PartitionName=low Nodes={host} Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=60
PartitionName=high Nodes={host} PriorityTier=10 PreemptMode=OFF
"""


@dataclass(frozen=True)
class Slurm:
    """A Slurm of one node, with a partition `low` whose jobs those of `high` drive away."""

    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables that let Slurm's commands find it, and nobody take this process for one of its jobs."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        return {**own, "SLURM_CONF": str(self.directory / "slurm.conf")}

    def call(self, *words: str) -> str:
        """Runs one of Slurm's commands and returns what it says."""
        return subprocess.run(words, env=self.environment, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    missing = [tool for tool in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)}: run `tests/cluster/setup.sh slurm`")
    if os.geteuid() != 0:
        pytest.skip("only root can start Slurm's daemons")
    directory = tmp_path_factory.mktemp("slurm")
    directory.chmod(0o755)
    for parent in directory.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o055)
    started = _start(directory)
    yield Slurm(directory)
    for process in reversed(started):
        process.terminate()
        process.wait()


def _start(directory: Path) -> list[subprocess.Popen[bytes]]:
    for name in ("state", "spool"):
        (directory / name).mkdir()
    (directory / "munge.key").write_bytes(os.urandom(1024))
    (directory / "munge.key").chmod(0o400)
    host, processors = socket.gethostname().split(".")[0], len(os.sched_getaffinity(0))
    config = CONFIG.format(host=host, directory=directory, ports=_free_ports(), processors=processors)
    (directory / "slurm.conf").write_text(config)
    environment = {**os.environ, "SLURM_CONF": str(directory / "slurm.conf")}
    paths = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid", "seed-file": "munge.seed"}
    munge = [f"--{name}={directory / path}" for name, path in paths.items()]
    commands = [
        ["munged", "--foreground", "--force", f"--log-file={directory / 'munge.log'}", *munge],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D"],
    ]
    started = []
    for command in commands:
        with (directory / f"{command[0]}.out").open("wb") as log:
            started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        time.sleep(1)
    _wait_for_idle_node(environment, directory)
    return started


def _wait_for_idle_node(environment: dict[str, str], directory: Path) -> None:
    deadline = time.monotonic() + 30
    said = ""
    while time.monotonic() < deadline:
        command = ["sinfo", "--noheader", "--format=%t"]
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout
        if "idle" in said.split():
            return
        time.sleep(0.5)
    raise AssertionError(f"the node is {said!r}\n" + "\n".join(p.read_text() for p in directory.glob("*.log")))


def _free_ports() -> list[int]:
    listeners = [socket.socket() for _ in range(2)]
    for listener in listeners:
        listener.bind(("127.0.0.1", 0))
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


@dataclass(frozen=True)
class Machines:
    """Two machines: network namespaces with an address, an ssh server and a cable between them."""

    directory: Path
    addresses: tuple[str, str] = ("10.77.0.1", "10.77.0.2")
    interface: str = "eth0"

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which `ssh` finds the keys."""
        return {**os.environ, "PATH": f"{self.directory}:{os.environ['PATH']}"}

    def on(self, number: int, *words: str) -> list[str]:
        """Returns the command that runs words on a machine."""
        return ["ip", "netns", "exec", name_of(number), *words]


def name_of(number: int) -> str:
    """Returns the name of a network namespace of this process's own."""
    return f"zt{os.getpid()}-{number}"


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    missing = [tool for tool in ("ip", "pdsh", "ssh", "ssh-keygen") if shutil.which(tool) is None]
    missing += [] if Path("/usr/sbin/sshd").exists() else ["sshd"]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)}: run `tests/cluster/setup.sh machines`")
    if os.geteuid() != 0:
        pytest.skip("only root can make network namespaces")
    made = Machines(tmp_path_factory.mktemp("machines"))
    servers: list[subprocess.Popen[bytes]] = []
    try:
        _connect(made)
        servers += _serve_ssh(made)
        yield made
    finally:
        for server in servers:
            server.terminate()
            server.wait()
        for number in range(2):
            subprocess.run(["ip", "netns", "delete", name_of(number)], check=False)


def _connect(machines: Machines) -> None:
    """Makes the namespaces and the cable; its ends have the same name, as network cards of equal machines do."""
    for number in range(2):
        _call("ip", "netns", "add", name_of(number))
    first, second = ("name", machines.interface, "netns"), ("name", machines.interface, "netns")
    _call("ip", "link", "add", *first, name_of(0), "type", "veth", "peer", *second, name_of(1))
    for number, address in enumerate(machines.addresses):
        inside = ("ip", "-n", name_of(number))
        _call(*inside, "address", "add", f"{address}/24", "dev", machines.interface)
        for link in ("lo", machines.interface):
            _call(*inside, "link", "set", link, "up")


def _serve_ssh(machines: Machines) -> list[subprocess.Popen[bytes]]:
    directory = machines.directory
    for name in ("host", "user"):
        _call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name))
    server = directory / "sshd_config"
    options = f"HostKey {directory}/host\nAuthorizedKeysFile {directory}/user.pub\nPasswordAuthentication no\n"
    server.write_text(f"{options}StrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile none\n")
    client = directory / "ssh_config"
    client.write_text(
        f"IdentityFile {directory}/user\nIdentitiesOnly yes\nStrictHostKeyChecking no\n"
        "UserKnownHostsFile /dev/null\nLogLevel ERROR\n"
    )
    wrapper = directory / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {client} "$@"\n')
    wrapper.chmod(0o755)
    Path("/run/sshd").mkdir(exist_ok=True)
    started = []
    for number in range(2):
        with (directory / f"sshd-{number}.log").open("wb") as log:
            words = machines.on(number, "/usr/sbin/sshd", "-D", "-e", "-f", str(server))
            started.append(subprocess.Popen(words, stdout=log, stderr=log))
    _wait_for_ssh(machines)
    return started


def _wait_for_ssh(machines: Machines) -> None:
    for address in machines.addresses:
        deadline = time.monotonic() + 20
        command = machines.on(0, "ssh", address, "true")
        while subprocess.run(command, env=machines.environment, check=False).returncode:
            logs = "\n".join(path.read_text() for path in machines.directory.glob("sshd-*.log"))
            assert time.monotonic() < deadline, logs
            time.sleep(0.2)


def _call(*words: str) -> None:
    subprocess.run(words, check=True)
