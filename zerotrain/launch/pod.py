"""What runs in a pod of Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping
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


def pod_template(order: Order, launch: KubernetesLaunch, config: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """Returns the template of the pods; `config` is the config map with the spec."""
    volumes: list[tuple[str, str, dict[str, Any], bool]] = [
        ("spec", FOLDER, {"configMap": {"name": config}}, True),
        ("shared-memory", "/dev/shm", {"emptyDir": _memory(launch.shared_memory)}, False),
    ]
    for i, volume in enumerate(launch.volumes):
        volumes.append((f"volume-{i}", volume.path, _source(volume), _is_read_only(volume)))
    container = {
        "name": CONTAINER,
        "image": launch.image,
        "command": _command(order),
        "workingDir": launch.directory,
        "env": [_variable(*each, launch.secrets) for each in environment_of_pods(launch).items()],
        "resources": _resources(order, launch),
        "volumeMounts": [
            {"name": name, "mountPath": path} | ({"readOnly": True} if read_only else {})
            for name, path, _, read_only in volumes
        ],
    }
    optional = {
        "imagePullSecrets": [{"name": name} for name in launch.pull_secrets],
        "serviceAccountName": launch.service_account,
        "priorityClassName": launch.priority,
        "nodeSelector": launch.node_selector,
        "tolerations": launch.tolerations,
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
            "containers": [container],
            "volumes": [{"name": name, **source} for name, _, source, _ in volumes],
        },
    }


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
