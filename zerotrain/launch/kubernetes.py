"""Kubernetes: the objects of a run, one pod per machine, and `kubectl` to hand them over."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping
from signal import SIGTERM
from typing import Any

from zerotrain.launch.environment import settled_environment
from zerotrain.launch.job import Command, Job, Order
from zerotrain.launch.pod import CONTAINER, SPEC_FILE, environment_of_pods, pod_template
from zerotrain.runs.attempts import STOPPED
from zerotrain.runs.create import RUNS
from zerotrain.spec.dump import dump_yaml
from zerotrain.spec.launch import KubernetesLaunch, LaunchSpec, LocalLaunch, TorchrunLaunch
from zerotrain.spec.run import RunSpec

Object = dict[str, Any]

_LONGEST_NAME = 52
"""A pod's own name has eleven characters more, and names of services have at most 63."""

_API = "trainer.kubeflow.org"
_FRAMEWORK = {f"{_API}/framework": "deepspeed"}
_STEP = {f"{_API}/trainjob-ancestor-step": "trainer"}
_JOB_LABEL = "batch.kubernetes.io/job-name"

_ASKED = [STOPPED, 128 + SIGTERM]
"""Exit codes of pods whose ranks were asked to stop: by the others, and themselves."""


def prepare(order: Order) -> Job:
    """Returns the objects in one file, and the `kubectl` that hands them over."""
    launch = order.spec.launch
    assert isinstance(launch, KubernetesLaunch), "chosen by its type"
    file = RUNS / f"{order.run.name}.kubernetes.yaml"
    made = objects(order, launch)
    job = f"{made[-1]['kind'].lower()}/{made[-1]['metadata']['name']}"
    return Job(
        (Command((*_kubectl(launch), "apply", "--filename", str(file)), {}),),
        file.with_suffix(".log"),
        order.grace,
        {file: "---\n".join(dump_yaml(each) for each in made)},
        is_submitted=True,
        environment=environment_of_pods(launch) | settled_environment(order),
        hints=_hints(launch, job, order.run.name),
    )


def objects(order: Order, launch: KubernetesLaunch) -> list[Object]:
    """Returns everything the run is for Kubernetes; the job is the last."""
    name = object_name(order.run.name)
    text = dump_yaml(_spec_of_pods(order.spec, launch, name).model_dump(mode="json", exclude_unset=True))
    config = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    labels = {**launch.labels, "app.kubernetes.io/name": "zerotrain", "app.kubernetes.io/instance": name}
    queue = {"kueue.x-k8s.io/queue-name": launch.queue} if launch.queue else {}

    def made(api: str, kind: str, called: str, content: Object, more: Mapping[str, str] = {}) -> Object:
        metadata: Object = {"name": called, "labels": {**labels, **more}}
        metadata |= {"namespace": launch.namespace} if launch.namespace else {}
        return {"apiVersion": api, "kind": kind, "metadata": metadata, **content}

    spec_map = made("v1", "ConfigMap", config, {"immutable": True, "data": {SPEC_FILE: text}})
    job = _job(order, launch, pod_template(order, launch, config, labels))
    if launch.kind == "trainjob":
        nodes = order.topology.num_nodes
        runtime = made(_API + "/v1alpha1", "TrainingRuntime", name, {"spec": _runtime(job, nodes)}, _FRAMEWORK)
        wanted = {"runtimeRef": {"apiGroup": _API, "kind": "TrainingRuntime", "name": name}}
        train_job = {"spec": {**wanted, "trainer": {"numNodes": nodes}}}
        return [spec_map, runtime, made(_API + "/v1alpha1", "TrainJob", name, train_job, queue)]
    if order.topology.num_nodes == 1:
        return [spec_map, made("batch/v1", "Job", name, {"spec": job}, queue)]
    job["template"]["spec"]["subdomain"] = name
    service = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {_JOB_LABEL: name},
        "ports": [{"name": "meet", "port": launch.port}],
    }
    return [
        spec_map,
        made("v1", "Service", name, {"spec": service}),
        made("batch/v1", "Job", name, {"spec": job}, queue),
    ]


def object_name(run: str) -> str:
    """Returns the name of a run as Kubernetes can have it: lower-case letters, digits and hyphens, a letter first."""
    name = re.sub(r"[^a-z0-9]+", "-", run.lower()).strip("-")
    return (name if name[:1].isalpha() else f"run-{name}")[:_LONGEST_NAME].rstrip("-")


def first_pod(name: str, launch: KubernetesLaunch) -> str:
    """Returns the name under which the other pods find the first, which the job or the JobSet sets up."""
    return f"{name}-node-0-0.{name}" if launch.kind == "trainjob" else f"{name}-0.{name}"


def _hints(launch: KubernetesLaunch, job: str, run: str) -> tuple[str, ...]:
    """Returns how to see how a job is, what it says and where it stands, and how to take it back."""
    kubectl = shlex.join(_kubectl(launch))
    pods = f"--selector app.kubernetes.io/instance={object_name(run)}"
    return (
        f"how it is        {kubectl} get {job}; {kubectl} get pods {pods}",
        f"what it says     {kubectl} logs --follow --container {CONTAINER} {pods}",
        f"where it stands  {kubectl} exec POD --container {CONTAINER} -- zerotrain status {RUNS}/{run}",
        f"take it back     {kubectl} delete {job}",
        f"its directory    {launch.directory}/{RUNS}/{run} in the pods",
    )


def _kubectl(launch: KubernetesLaunch) -> list[str]:
    chosen = {"context": launch.context, "namespace": launch.namespace}
    return ["kubectl", *(word for name, value in chosen.items() if value for word in (f"--{name}", value))]


def _spec_of_pods(spec: RunSpec, launch: KubernetesLaunch, name: str) -> RunSpec:
    """Returns the spec that pods read: the same run, with the launcher that starts ranks inside a pod."""
    inside: LaunchSpec
    if spec.hardware.num_nodes == 1:
        inside = LocalLaunch(type="local")
    else:
        endpoint = f"{first_pod(name, launch)}:{launch.port}"
        inside = TorchrunLaunch(type="torchrun", rendezvous="static", endpoint=endpoint)
    shared = {name: getattr(launch, name) for name in ("timeout", "start_timeout", "grace", "environment")}
    inside = inside.model_copy(update=shared)
    return spec.model_copy(update={"launch": inside})


def _job(order: Order, launch: KubernetesLaunch, template: Object) -> Object:
    """Returns an indexed Job, which gives each pod a number that it keeps when it is replaced.

    A fault on one machine ends the ranks on all of them, and each pod counts. Pods that Kubernetes drives away do not,
    nor those whose ranks were asked to stop and have saved.
    """
    nodes = order.topology.num_nodes
    ended = {"ttlSecondsAfterFinished": launch.keep.seconds} if launch.keep else {}
    return {
        "completionMode": "Indexed",
        "completions": nodes,
        "parallelism": nodes,
        "backoffLimit": launch.max_restarts * nodes,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {
                    "action": "Ignore",
                    "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": _ASKED},
                },
                {"action": "FailJob", "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [2]}},
            ]
        },
        **ended,
        "template": template,
    }


def _runtime(job: Object, nodes: int) -> Object:
    """Returns what a TrainJob is made of: a JobSet whose one Job is the same as without Kubeflow."""
    job = {key: value for key, value in job.items() if key not in ("completions", "parallelism", "completionMode")}
    node = {"name": "node", "template": {"metadata": {"labels": _STEP}, "spec": job}}
    return {"mlPolicy": {"numNodes": nodes}, "template": {"spec": {"replicatedJobs": [node]}}}
