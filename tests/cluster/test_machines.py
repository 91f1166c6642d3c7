"""Runs on two machines, one rank each, over a network and ssh: started, killed, stopped and continued."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from zerotrain.runs.history import curve

pytestmark = pytest.mark.cluster

CHANGES: dict[str, Any] = {
    "horizon": "300 steps",
    "zero": {"stage": 2},
    "checkpoint": {"save_every": "10 steps"},
    "hardware": {"num_nodes": 2, "gpus_per_node": 1},
}
ONE_MACHINE = ("--on", "local", "hardware.num_nodes=1", "hardware.gpus_per_node=2", "name=whole")


class Site:
    """A directory that both machines see."""

    def __init__(self, machines: Any, directory: Path, spec: dict[str, Any], watched: Any) -> None:
        self.machines, self.directory, self.spec = machines, directory, {**spec, **CHANGES}
        self.run, self.whole = (watched(directory / "runs" / name) for name in ("tiny", "whole"))
        (directory / "hosts").write_text("".join(f"{address} slots=1\n" for address in machines.addresses))

    def write(self, launch: dict[str, Any]) -> None:
        launch = {**launch, "environment": {"GLOO_SOCKET_IFNAME": self.machines.interface}}
        (self.directory / "spec.yaml").write_text(yaml.safe_dump({**self.spec, "launch": launch}))

    def start(self, number: int, *words: str) -> subprocess.Popen[str]:
        """Starts a verb on a machine."""
        return subprocess.Popen(
            self.machines.on(number, sys.executable, "-m", "zerotrain", *words),
            cwd=self.directory,
            env=self.machines.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def expected(self) -> list[float]:
        """Returns the losses of the same run on two ranks of one machine."""
        command = [sys.executable, "-m", "zerotrain", "train", "spec.yaml", *ONE_MACHINE]
        subprocess.run(command, cwd=self.directory, check=True, capture_output=True, timeout=300)
        return self.whole.losses()

    def worker(self, number: int) -> int:
        """Returns the process that trains on a machine."""
        pids = subprocess.check_output(["ip", "netns", "pids", self.machines.on(number)[3]], text=True).split()
        return next(int(pid) for pid in pids if words_of(pid)[1:4] == [b"-u", b"-m", b"zerotrain.worker"])


def words_of(pid: str) -> list[bytes]:
    """Returns the command line of a process; nothing of one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


@pytest.fixture
def site(machines: Any, tmp_path: Path, tiny: dict[str, Any], watched: Any) -> Site:
    return Site(machines, tmp_path, tiny, watched)


def test_deepspeed_trains_on_two_machines_through_a_kill_and_a_stop(site: Site) -> None:
    site.write({"type": "deepspeed", "hostfile": "hosts"})

    first = site.start(0, "train", "spec.yaml")
    site.run.wait_for((site.run.checkpoints / "step-10").exists)
    os.kill(site.worker(1), signal.SIGKILL)
    killed = first.communicate(timeout=120)
    second = site.start(0, "resume", "runs/tiny")
    site.run.wait_for(lambda: any(row["attempt"] == 2 and row["step"] > 30 for row in curve(site.run).values()))
    second.send_signal(signal.SIGINT)
    stopped = second.communicate(timeout=120)
    third = site.start(0, "resume", "runs/tiny")
    finished = third.communicate(timeout=180)

    assert first.returncode == 1, killed
    assert "error[ZT806] killed-worker" in killed[1]
    assert second.returncode == 130, stopped
    assert third.returncode == 0, finished
    assert site.run.outcomes() == ["failed", "stopped", "finished"]
    assert site.run.losses() == site.expected()


@pytest.mark.parametrize("rendezvous", ["static", "c10d"])
def test_torchrun_trains_on_two_machines(site: Site, rendezvous: str) -> None:
    endpoint = f"{site.machines.addresses[0]}:29511"
    site.write({"type": "torchrun", "rendezvous": rendezvous, "endpoint": endpoint})

    both = [site.start(number, "train", "spec.yaml", f"launch.node_rank={number}") for number in range(2)]
    said = [process.communicate(timeout=240) for process in both]

    assert [process.returncode for process in both] == [0, 0], said
    assert site.run.outcomes() == ["finished"]
    assert site.run.losses() == site.expected()
