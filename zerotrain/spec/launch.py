"""How the ranks of a run are started."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from zerotrain.spec.base import Auto, Bool, NonNegativeInt, PositiveInt, RawKeys, Spec, Time
from zerotrain.spec.volumes import PodPath, Quantity, VolumeSpec
from zerotrain.units import TimeSpan


def _host_and_port(endpoint: str) -> str:
    host, colon, port = endpoint.rpartition(":")
    if colon and not (host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"`{endpoint}` is no `host:port`")
    return endpoint


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"{text!r} has characters that would end its line in a batch script")
    return text


_Line = Annotated[str, AfterValidator(_one_line)]
"""Text that stands in a line of a batch script."""


class _Launch(Spec):
    timeout: Time = TimeSpan.parse("30 minutes")
    """How long a rank waits for the others, when they meet and in every collective operation, before the run fails."""
    start_timeout: Time = TimeSpan.parse("15 minutes")
    """How long ranks wait for each other at the start, before those that did not come are named."""
    grace: Time = TimeSpan.parse("60 seconds")
    """How long ranks that are asked to stop may take to save a checkpoint, before they are killed."""
    environment: dict[str, str] = {}
    """Variables that every rank gets, on every machine. Not for secrets: they are written to the run directory."""


class _RestartingLaunch(_Launch):
    max_restarts: NonNegativeInt = 0
    """How often the ranks are started again when one fails or is killed; each time the run continues from its last good
    checkpoint. What a change of the spec or the machine must put right is not tried again."""
    restart_delay: Time = TimeSpan.parse("10 seconds")
    """How long is waited before a restart; twice as long each time that no checkpoint was saved since the last one, up
    to 10 minutes."""
    on_oom: Literal["stop", "adapt"] = "stop"
    """What follows when memory runs out: `adapt` starts the ranks again with a smaller micro-batch and more
    accumulation, so that the global batch and the losses stay what they are. This does not count as a restart."""


class LocalLaunch(_RestartingLaunch):
    """Start the ranks on this machine, without another launcher."""

    type: Literal["local"]


class DeepSpeedLaunch(_RestartingLaunch):
    """Start with the `deepspeed` launcher."""

    type: Literal["deepspeed"]
    hostfile: str | None = None
    """Lines of `host slots=N`; `null`: this machine."""
    include: str | None = None
    """Hosts and slots to use: `worker-1:0,1@worker-2`."""
    exclude: str | None = None
    """Hosts and slots not to use."""
    launcher: Literal["pdsh", "openmpi", "slurm"] = "pdsh"
    """What starts the ranks of several machines."""
    launcher_args: str = ""
    """More arguments for it, as on its own command line."""
    master_address: str | None = None
    """Where the ranks of several machines meet; `null`: the address that the first host of the hostfile says it has."""
    ssh_port: PositiveInt | None = None
    """Port of the hosts' ssh servers; `null`: what ssh is configured for."""


class TorchrunLaunch(_Launch):
    """Start with `torchrun`; a run on several machines is started on each of them."""

    type: Literal["torchrun"]
    rendezvous: Literal["static", "c10d"] | Auto = "auto"
    """How machines meet. `static`: each is told its `node_rank`; `c10d`: they number themselves, and meet again after
    a fault; `auto`: `c10d` with `max_restarts`, else `static`."""
    endpoint: Annotated[str, AfterValidator(_host_and_port)] | None = None
    """`host:port` of the first machine, which the others can reach; `null`: the run is on this machine alone."""
    node_rank: NonNegativeInt = 0
    """This machine's number, for `static`: give it on the command line, `launch.node_rank=1`."""
    max_restarts: NonNegativeInt = 0
    """How often the ranks are started again when one fails; each time the run continues from its last checkpoint."""


class SlurmLaunch(_Launch):
    """Hand the run to Slurm; inside an allocation, start the ranks there with `srun`."""

    type: Literal["slurm"]
    time: Time | None = None
    """Wall-clock limit of a job; `null`: the partition's. Before it ends the run is saved and queued again."""
    save_before: Time = TimeSpan.parse("2 minutes")
    """How long before the limit the ranks are told to save."""
    requeue: Bool = True
    """Queue the job again when it is preempted or at its time limit; it goes on from its last checkpoint."""
    array: PositiveInt = 1
    """So many jobs, one after another; each goes on where the one before has ended."""
    partition: _Line | None = None
    """Partition to run in; `null`: Slurm's default."""
    account: _Line | None = None
    """Account that is charged."""
    qos: _Line | None = None
    """Quality of service."""
    constraint: _Line | None = None
    """Features that nodes must have."""
    exclusive: Bool = False
    """Share no node with other jobs."""
    gres: _Line | Auto = "auto"
    """Generic resources of a node; `auto`: `gpu:N`, with `hardware.gpus_per_node` for N, and none for a run on CPUs."""
    cpus_per_task: PositiveInt | None = None
    """Processors of a rank; `null`: Slurm's default."""
    memory: _Line | NonNegativeInt | None = None
    """Memory of a node, such as `64G`; `0`: all there is; `null`: Slurm's default."""
    sbatch_args: list[_Line] = []
    """More options of `sbatch`, one each: `--mail-type=END`."""
    setup: list[str] = []
    """Shell commands that make the environment on a node: `module load cuda`, `source /shared/venv/bin/activate`."""


def _secret_key(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?/[-._A-Za-z0-9]+", text):
        raise ValueError(f"`{text}` is no key of a secret; write `SECRET/KEY`")
    return text


class KubernetesLaunch(_Launch):
    """Hand the run to Kubernetes: one pod per machine, in which torchrun starts the ranks."""

    type: Literal["kubernetes"]
    image: str
    """Image of the pods, with zerotrain in it: one built from `docker/`, or your own."""
    volumes: list[VolumeSpec]
    """What the pods share. The runs are kept on one of these."""
    kind: Literal["job", "trainjob"] = "job"
    """`job`: an indexed Job, which every cluster has; `trainjob`: a TrainJob of Kubeflow Trainer 2, with a runtime of
    its own."""
    directory: PodPath = "/workspace"
    """Where pods work: paths of the spec begin there, and `runs` is made there."""
    namespace: str | None = None
    """Namespace; `null`: that of the context."""
    context: str | None = None
    """Context of kubectl; `null`: the current one."""
    cpus: Quantity | None = None
    """Processors of a pod; `null`: no promise and no limit."""
    memory: Quantity | None = None
    """Memory of a pod, shared memory included; `null`: no promise and no limit."""
    shared_memory: Quantity | None = None
    """Size of `/dev/shm`, through which ranks of a machine talk; `null`: half of the machine's memory."""
    gpu_resource: str = "nvidia.com/gpu"
    """What Kubernetes calls the GPUs."""
    resources: dict[str, Quantity] = {}
    """More resources of a pod: `rdma/hca: "1"`."""
    secrets: dict[str, Annotated[str, AfterValidator(_secret_key)]] = {}
    """Variables whose values are in secrets of the cluster: `HF_TOKEN: hub/token`."""
    pull_secrets: list[str] = []
    """Secrets with which the image is pulled."""
    max_restarts: NonNegativeInt = 3
    """How many faults the run survives; each time it goes on from its last checkpoint. Pods that are driven away, and
    runs that were asked to stop, do not count."""
    port: PositiveInt = 29500
    """Where the pods meet, in the first."""
    queue: str | None = None
    """Queue of Kueue."""
    priority: str | None = None
    """Priority class of the pods."""
    user: NonNegativeInt | None = None
    """Number of the user the pods run as; `null`: the image's own."""
    group: NonNegativeInt | None = None
    """Number of the group that may write to the volumes, such as the user's own for a fresh claim, which is root's;
    `null`: the volumes are as they are."""
    service_account: str | None = None
    """Account the pods run as."""
    node_selector: dict[str, str] = {}
    """Labels that machines must have."""
    tolerations: list[RawKeys] = []
    """Taints that may be on machines, as Kubernetes writes them."""
    labels: dict[str, str] = {}
    """Labels of everything that is made."""
    annotations: dict[str, str] = {}
    """Annotations of the pods."""
    host_network: Bool = False
    """Use the network of the machine itself, as some InfiniBand set-ups need."""
    keep: Time | None = None
    """How long Kubernetes keeps a job that has ended; `null`: until it is deleted."""


LaunchSpec = Annotated[
    LocalLaunch | DeepSpeedLaunch | TorchrunLaunch | SlurmLaunch | KubernetesLaunch, Field(discriminator="type")
]
