"""What a spec needs of a machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zerotrain.check.case import Case
from zerotrain.compile.ops import needed_ops
from zerotrain.compile.resolve import Resolved
from zerotrain.compile.sizes import checkpoint_bytes, state_bytes, weight_bytes
from zerotrain.hardware.gpus import Gpu
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.runs.create import RUNS
from zerotrain.spec.launch import DeepSpeedLaunch
from zerotrain.spec.run import RunSpec


@dataclass(frozen=True)
class Place:
    """A directory the run writes to."""

    key: str | None
    purpose: str
    path: Path


@dataclass(frozen=True)
class Need:
    """What a run needs; without a spec, what any run does."""

    spec: RunSpec | None = None
    gpu: Gpu | None = None
    """The accelerator; None without a spec."""
    nodes: int = 1
    ranks: int = 1
    """Ranks on each machine."""
    ops: tuple[str, ...] = ()
    """Builders of the ops its ranks load."""
    places: tuple[Place, ...] = ()
    checkpoints: int = 0
    """Bytes of all checkpoints that exist at once, at least."""
    host_memory: int = 0
    """Bytes that weights and optimizer take on each machine, at least."""
    hostfile: Path | None = None
    paths: tuple[Path, ...] = ()
    """What the other machines must see under the same name."""

    @property
    def on_gpu(self) -> bool:
        """Ranks compute on accelerators."""
        return self.gpu is not None and not self.gpu.host

    @property
    def on_cpu(self) -> bool:
        """Ranks compute on processors."""
        return self.gpu is not None and self.gpu.host


def need_of(case: Case, file: Path) -> Need:
    """Returns what the spec in a file needs, which must have no errors."""
    spec, topology, around = case.resolved.spec, case.topology, case.surroundings
    config, on_cpu = case.compiled.as_dict(), case.gpu is not None and case.gpu.host
    launch = spec.launch
    hostfile = launch.hostfile if isinstance(launch, DeepSpeedLaunch) else None
    return Need(
        spec=spec,
        gpu=case.gpu,
        nodes=topology.num_nodes,
        ranks=topology.gpus_per_node,
        ops=tuple(needed_ops(config, on_cpu)),
        places=tuple(_places(spec, around)),
        checkpoints=_checkpoints(case.resolved),
        host_memory=_host_memory(case.resolved, on_cpu),
        hostfile=around.path(hostfile) if hostfile else None,
        paths=(around.directory, around.path(str(file)), *_data(spec, around)),
    )


def any_need(around: Surroundings) -> Need:
    """Returns what any run needs."""
    return Need(places=(Place(None, "runs", around.directory / RUNS), Place(None, "prepared data", around.cache)))


def _places(spec: RunSpec, around: Surroundings) -> list[Place]:
    zero = spec.zero
    offloads = {"offload_optimizer": zero.offload_optimizer, "offload_param": zero.offload_param}
    nvme = [
        Place(f"zero.{name}.nvme_path", "offloaded states", around.path(part.nvme_path))
        for name, part in offloads.items()
        if part is not None and part.device == "nvme" and part.nvme_path is not None
    ]
    data = Place("data.cache", "prepared data", around.path(str(spec.data.cache)))
    return [Place("name", "checkpoints", around.directory / RUNS), data, *nvme]


def _data(spec: RunSpec, around: Surroundings) -> list[Path]:
    sources = [*spec.data.train, *spec.data.validation]
    return [around.path(path) for source in sources if (path := getattr(source, "path", None)) is not None]


def _checkpoints(resolved: Resolved) -> int:
    """Returns the bytes of the checkpoints that are kept and of the one being written."""
    kept = resolved.spec.checkpoint
    return checkpoint_bytes(resolved) * (kept.keep_last + 1 + (kept.keep_best is not None))


def _host_memory(resolved: Resolved, on_cpu: bool) -> int:
    """Returns the bytes of weights and optimizer states that are in the memory of one machine."""
    spec, topology, shape = resolved.spec, resolved.topology, resolved.shape
    if shape is None:
        return 0
    zero, ranks = spec.zero, topology.gpus_per_node
    share = ranks / topology.world_size
    copies = ranks / topology.model_parallel_size
    optimizer, weights = zero.offload_optimizer, zero.offload_param
    host_states = optimizer.ratio if optimizer and optimizer.device == "cpu" else float(on_cpu and optimizer is None)
    host_weights = bool(weights and weights.device == "cpu") or (on_cpu and weights is None)
    trained = resolved.trainable_parameters if resolved.trainable_parameters is not None else shape.parameters
    states = trained * state_bytes(spec) * (share if zero.stage else copies) * host_states
    return int(states + shape.parameters * weight_bytes(spec) * (share if zero.stage == 3 else copies) * host_weights)
