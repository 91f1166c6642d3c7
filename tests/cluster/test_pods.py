"""Pods of Kubernetes without Kubernetes: what it is given is run on two machines, as its Job controller would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from zerotrain.runs.history import curve

pytestmark = pytest.mark.cluster

CHANGES: dict[str, Any] = {
    "horizon": "60 steps",
    "zero": {"stage": 2},
    "checkpoint": {"save_every": "10 steps"},
    "hardware": {"num_nodes": 2, "gpus_per_node": 1},
}
ONE_MACHINE = ("--on", "local", "hardware.num_nodes=1", "hardware.gpus_per_node=2", "name=whole")


class Cluster:
    """Two machines with the commands of the pods, their config map and their shared volume."""

    def __init__(self, machines: Any, directory: Path, spec: dict[str, Any], watched: Any) -> None:
        self.machines, self.volume, self.login = machines, directory / "volume", directory / "login"
        self.run, self.whole = (watched(self.volume / "runs" / name) for name in ("tiny", "whole"))
        for folder in (self.volume, self.login, directory / "config"):
            folder.mkdir()
        launch = {
            "type": "kubernetes",
            "image": "zerotrain",
            "volumes": [{"type": "claim", "name": "training", "path": "/workspace"}],
            "environment": {"GLOO_SOCKET_IFNAME": machines.interface},
        }
        (self.login / "spec.yaml").write_text(yaml.safe_dump({**spec, **CHANGES, "launch": launch}))
        self.config = directory / "config"
        self.pods: dict[int, subprocess.Popen[bytes]] = {}
        self.counted: list[int] = []
        self.job = self._handed_over()

    def _handed_over(self) -> dict[str, Any]:
        shown = self.call(self.login, "train", "spec.yaml", "--dry-run").stdout
        text = shown.split("kubernetes.yaml`:\n")[1].split("\nenvironment of the ranks:")[0]
        config, service, job = yaml.safe_load_all(text)
        (self.config / "spec.yaml").write_text(config["data"]["spec.yaml"])
        assert job["spec"]["template"]["spec"]["subdomain"] == service["metadata"]["name"]
        names = [f"{job['metadata']['name']}-{i}.{service['metadata']['name']}" for i in range(2)]
        for number in range(2):
            hosts = Path("/etc/netns") / self.machines.on(number)[3] / "hosts"
            hosts.parent.mkdir(parents=True, exist_ok=True)
            lines = [f"{address} {name}\n" for address, name in zip(self.machines.addresses, names, strict=True)]
            hosts.write_text("127.0.0.1 localhost\n" + "".join(lines))
        return job

    def call(self, directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "zerotrain", *words]
        return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True, timeout=300)

    def start(self, number: int) -> None:
        """Starts a pod as its machine would: volumes at their places, variables in the words of its command."""
        (container,) = self.job["spec"]["template"]["spec"]["containers"]
        index = {"JOB_COMPLETION_INDEX": str(number)}
        words = [word.replace("$(JOB_COMPLETION_INDEX)", str(number)) for word in container["command"]]
        mounts = f"mount --bind {self.config} /etc/zerotrain && mount --bind {self.volume} /workspace"
        script = f'{mounts} && cd {container["workingDir"]} && exec "$@"'
        given = {each["name"]: each["value"] for each in container["env"]}
        path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        with (self.volume / f"pod-{number}.log").open("ab") as log:
            self.pods[number] = subprocess.Popen(
                self.machines.on(number, "sh", "-c", script, "pod", *words),
                env={**os.environ, **path, **given, **index},
                stdout=log,
                stderr=log,
            )

    def look(self) -> None:
        """Replaces pods that have ended, as the job's policy says."""
        rules = self.job["spec"]["podFailurePolicy"]["rules"]
        actions = {
            code: rule["action"] for rule in rules if "onExitCodes" in rule for code in rule["onExitCodes"]["values"]
        }
        for number, pod in self.pods.items():
            code = pod.poll()
            if code:
                assert actions.get(code) != "FailJob", self.said()
                self.counted += [] if actions.get(code) == "Ignore" else [code]
                assert len(self.counted) <= self.job["spec"]["backoffLimit"], self.said()
                self.start(number)

    def wait_for(self, condition: Callable[[], Any]) -> None:
        """Waits, and replaces pods meanwhile."""
        self.run.wait_for(lambda: self.look() or condition())

    def said(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.volume.glob("pod-*.log")))

    def processes(self, number: int, words: bytes = b"zerotrain") -> list[int]:
        """Returns the processes of a pod whose command line has these words."""
        pids = subprocess.check_output(["ip", "netns", "pids", self.machines.on(number)[3]], text=True).split()
        said = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ") for pid in pids}
        return [pid for pid, command in said.items() if words in command]


@pytest.fixture
def cluster(machines: Any, tmp_path: Path, tiny: dict[str, Any], watched: Any) -> Iterator[Cluster]:
    made = [path for path in (Path("/etc/zerotrain"), Path("/workspace")) if not path.exists()]
    for path in made:
        path.mkdir()
    cluster = Cluster(machines, tmp_path, tiny, watched)
    yield cluster
    for number, pod in cluster.pods.items():
        for pid in cluster.processes(number):
            os.kill(pid, signal.SIGKILL)
        pod.wait()
    for path in made:
        path.rmdir()


def test_pods_train_through_a_kill_and_an_eviction_as_if_nothing_had_been(cluster: Cluster) -> None:
    cluster.call(cluster.login, "train", "spec.yaml", *ONE_MACHINE, "data.cache=cache")
    (cluster.login / "runs" / "whole").rename(cluster.volume / "whole")
    for number in range(2):
        cluster.start(number)

    cluster.wait_for((cluster.run.checkpoints / "step-10").exists)
    os.kill(cluster.processes(1, b"-u -m zerotrain.worker")[0], signal.SIGKILL)
    cluster.wait_for(lambda: any(row["attempt"] > 1 and row["step"] > 15 for row in curve(cluster.run).values()))
    counted = len(cluster.counted)
    cluster.pods[0].send_signal(signal.SIGTERM)
    cluster.wait_for(lambda: all(pod.poll() == 0 for pod in cluster.pods.values()))

    *failed, stopped, finished = cluster.run.outcomes()
    assert (set(failed), stopped, finished) == ({"failed"}, "stopped", "finished"), cluster.said()
    assert 1 <= counted <= 4  # a pod that is there before the old ones are gone fails once more
    assert len(cluster.counted) == counted, "pods that were driven away, or stopped with them, have been counted"
    assert cluster.run.losses() == type(cluster.run)(cluster.volume / "whole").losses()
