"""Real parts of clusters, on one machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

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
