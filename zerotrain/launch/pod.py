"""What runs in a pod of Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zerotrain.launch.job import Order
from zerotrain.spec.launch import KubernetesLaunch
from zerotrain.spec.volumes import (
    ClaimVolume,
    ConfigMapVolume,
    HostVolume,
    ScratchVolume,
    SecretVolume,
    VolumeSpec,
)

CONTAINER = "node"
"""Name of the container, by which Kubeflow knows the one that trains."""
FOLDER = "/etc/zerotrain"
SPEC_FILE = "spec.yaml"

_MORE_SECONDS = 30
"""For what comes after the last rank has saved."""


@dataclass(frozen=True)
class _Mounted:
    name: str
    path: str
    source: dict[str, Any]
    read_only: bool = False

    def mount(self) -> dict[str, Any]:
        return {"name": self.name, "mountPath": self.path} | ({"readOnly": True} if self.read_only else {})


def pod_template(order: Order, launch: KubernetesLaunch, config: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """Returns the template of the pods; `config` is the config map with the spec."""
    volumes = _volumes(launch, config)
    optional = {
        "imagePullSecrets": [{"name": name} for name in launch.pull_secrets],
        "serviceAccountName": launch.service_account,
        "priorityClassName": launch.priority,
        "nodeSelector": launch.node_selector,
        "tolerations": launch.tolerations,
        "securityContext": _rights(launch),
    }
    network = {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"} if launch.host_network else {}
    return {
        "metadata": {"labels": dict(labels)} | ({"annotations": launch.annotations} if launch.annotations else {}),
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": launch.grace.seconds + _MORE_SECONDS,
            "enableServiceLinks": False,
            "shareProcessNamespace": True,
            **{key: value for key, value in optional.items() if value},
            **network,
            "containers": [_container(order, launch, volumes)],
            "volumes": [{"name": volume.name, **volume.source} for volume in volumes],
        },
    }


def _volumes(launch: KubernetesLaunch, config: str) -> list[_Mounted]:
    own = [
        _Mounted("spec", FOLDER, {"configMap": {"name": config}}, read_only=True),
        _Mounted("shared-memory", "/dev/shm", {"emptyDir": _memory(launch.shared_memory)}),
    ]
    given = enumerate(launch.volumes)
    return own + [_Mounted(f"volume-{i}", each.path, _source(each), _is_read_only(each)) for i, each in given]


def _container(order: Order, launch: KubernetesLaunch, volumes: Sequence[_Mounted]) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": launch.image,
        "command": _command(order),
        "workingDir": launch.directory,
        "env": [_variable(*each, launch.secrets) for each in environment_of_pods(launch).items()],
        "resources": _resources(order, launch),
        "volumeMounts": [volume.mount() for volume in volumes],
    }


def _rights(launch: KubernetesLaunch) -> dict[str, Any]:
    """Returns who the pods are; files of a volume are given to their group once, not at every start."""
    user = {"runAsUser": launch.user} if launch.user is not None else {}
    group = {"fsGroup": launch.group, "fsGroupChangePolicy": "OnRootMismatch"} if launch.group is not None else {}
    return user | group


def _command(order: Order) -> list[str]:
    """Returns what a pod runs; Kubernetes puts in the pod's number."""
    number = ["launch.node_rank=$(JOB_COMPLETION_INDEX)"] if order.topology.num_nodes > 1 else []
    return ["zerotrain", "train", f"{FOLDER}/{SPEC_FILE}", *number, "--continue"]


def environment_of_pods(launch: KubernetesLaunch) -> dict[str, str]:
    """Returns the variables of the pods; of those in secrets, where they are.

    Prepared data is shared by the pods, and ops are compiled for the processor of a machine.
    """
    own = {"XDG_CACHE_HOME": f"{launch.directory}/.cache", "TORCH_EXTENSIONS_DIR": "/tmp/torch_extensions"}
    return {name: value for name, value in own.items() if name not in launch.environment} | launch.secrets


def _variable(name: str, value: str, secrets: Mapping[str, str]) -> dict[str, Any]:
    if name not in secrets:
        return {"name": name, "value": value}
    secret, key = value.split("/")
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def _resources(order: Order, launch: KubernetesLaunch) -> dict[str, Any]:
    """Returns what a pod gets; requests are the same as limits, so that nothing of it is taken back."""
    given = {"cpu": launch.cpus, "memory": launch.memory, **launch.resources}
    if order.has_gpus:
        given[launch.gpu_resource] = str(order.topology.gpus_per_node)
    limits = {name: amount for name, amount in given.items() if amount is not None}
    return {"requests": limits, "limits": limits} if limits else {}


def _memory(size: str | None) -> dict[str, str]:
    return {"medium": "Memory"} | ({"sizeLimit": size} if size else {})


def _source(volume: VolumeSpec) -> dict[str, Any]:
    match volume:
        case ClaimVolume():
            return {"persistentVolumeClaim": {"claimName": volume.name}}
        case HostVolume():
            return {"hostPath": {"path": volume.source, "type": "Directory"}}
        case SecretVolume():
            return {"secret": {"secretName": volume.name}}
        case ConfigMapVolume():
            return {"configMap": {"name": volume.name}}
        case ScratchVolume():
            return {"emptyDir": {"sizeLimit": volume.size} if volume.size else {}}


def _is_read_only(volume: VolumeSpec) -> bool:
    return isinstance(volume, ClaimVolume | HostVolume) and volume.read_only
