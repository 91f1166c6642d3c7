"""What was found on this machine and on the others of a run: facts alone, no verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Package:
    """A package that training uses."""

    name: str
    installed: str | None
    """Its version; None when it is not installed."""
    tested: str
    """The versions zerotrain is tested with, as its own requirement says: `>=0.19.8,<0.20`."""


@dataclass(frozen=True)
class Software:
    """The interpreter and its packages."""

    python: str
    executable: str
    packages: tuple[Package, ...]


@dataclass(frozen=True)
class Op:
    """One of DeepSpeed's compiled ops."""

    name: str
    directory: str | None
    """Where it is compiled; None when that directory cannot be made."""
    built: bool
    problem: str | None
    """Why it cannot be built here; None when DeepSpeed finds nothing against it."""


@dataclass(frozen=True)
class Torch:
    """What torch and DeepSpeed say of themselves in a process of their own."""

    version: str
    cuda: str | None
    """CUDA version torch is built with."""
    hip: str | None
    """ROCm version torch is built with."""
    accelerator: str
    """DeepSpeed's name for the devices ranks would compute on: `cpu`, `cuda`."""
    devices: int
    """Devices of CUDA or ROCm that a rank can see."""
    toolkit: str | None
    """CUDA version of the compiler that ops would be built with."""
    toolkit_problem: str | None
    """Why DeepSpeed refuses that compiler."""
    ops: tuple[Op, ...]


@dataclass(frozen=True)
class Lock:
    """A lock that torch puts beside an op while it builds it."""

    path: str
    held: bool
    """A process of this machine has it open, as torch does as long as it builds."""
    quiet_seconds: float
    """Time since something in its directory last changed."""


@dataclass(frozen=True)
class Builds:
    """What compiling takes."""

    compiler: str | None
    ninja: str | None
    locks: tuple[Lock, ...]


@dataclass(frozen=True)
class Device:
    """A GPU as its driver shows it."""

    index: int
    name: str
    memory: int
    """Bytes."""
    free: int
    """Bytes no process has."""
    mig: bool
    """Cut into slices."""


@dataclass(frozen=True)
class Driver:
    """NVIDIA's driver."""

    version: str
    cuda: str
    """Newest CUDA version it knows."""
    devices: tuple[Device, ...]


@dataclass(frozen=True)
class Directory:
    """A directory the run writes to, which may not exist yet."""

    key: str | None
    """Key of the spec that names it."""
    purpose: str
    """What is written there."""
    path: str
    problem: str | None
    """Why nothing can be written; None when it can."""
    filesystem: str | None
    """Kind of the file system, such as `ext4`."""
    free: int
    """Bytes."""


@dataclass(frozen=True)
class Memory:
    """Host memory in bytes."""

    limit: int
    """What the machine has, or the container may take."""
    is_container_limit: bool
    available: int


@dataclass(frozen=True)
class Storage:
    """Memory, disks and limits."""

    memory: Memory | None
    shared_free: int | None
    """Free bytes of /dev/shm."""
    open_files: int
    """Files a process may open."""
    directories: tuple[Directory, ...]


@dataclass(frozen=True)
class Network:
    """How ranks would find each other."""

    hostname: str
    address: str | None
    """What the name of this machine stands for; None when nothing knows it."""
    loopback_problem: str | None
    """Why a process cannot connect to another one of this machine."""
    interfaces: tuple[str, ...]
    chosen: Mapping[str, str]
    """Variables that choose an interface, as far as they are set."""
    master_port: str | None
    """The variable `MASTER_PORT`."""
    master_port_problem: str | None
    """Why nothing can listen there."""


@dataclass(frozen=True)
class Answer:
    """What an interpreter says, on this machine or another."""

    hostname: str
    python: str
    packages: Mapping[str, str | None]
    missing: tuple[str, ...]
    """Paths that are not there."""
    gpus: int | None
    """GPUs of NVIDIA's; None without their driver."""


@dataclass(frozen=True)
class Host:
    """A machine of the hostfile."""

    name: str
    slots: int
    line: int
    """In the hostfile, counted from 1."""
    answer: Answer | None = None
    problem: str | None = None
    """Why it did not answer."""
    skew: float = 0.0
    """Seconds by which its clock is off at least."""


@dataclass(frozen=True)
class BadLine:
    """A line of the hostfile that DeepSpeed refuses."""

    line: int
    """Counted from 1."""
    text: str
    problem: str


@dataclass(frozen=True)
class Hosts:
    """The hostfile and the machines in it."""

    path: str
    problem: str | None = None
    """Why the file cannot be read."""
    bad: BadLine | None = None
    """The first line that is refused."""
    hosts: tuple[Host, ...] = ()
    here: Answer | None = None
    """What the interpreter of this machine answers."""
    pdsh: str | None = None
    """Path of the program that starts the ranks there."""


@dataclass(frozen=True)
class Machine:
    """Everything that was found."""

    software: Software
    torch: Torch | None
    torch_problem: str | None
    """Why torch and DeepSpeed did not answer."""
    builds: Builds
    driver: Driver | None
    storage: Storage
    network: Network
    hosts: Hosts | None = None
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Variables that choose devices, as far as they are set."""
