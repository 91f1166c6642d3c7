"""ZT8: what `zerotrain doctor` reports; it is found in `doctor/checks`."""

from __future__ import annotations

from zerotrain.check.rule import Rule, reported_by


@reported_by("doctor", "ZT850", "untested-version")
def untested_version() -> None:
    """A package has a version that zerotrain is not tested with.

    Why: what zerotrain does around DeepSpeed and transformers is held to the versions of its own requirement; others
    may differ in defaults that change the loss.
    Wrong: `deepspeed` 0.18.9 beside a zerotrain that asks for 0.19
    Right: `pip install 'zerotrain[train]'`
    """


@reported_by("doctor", "ZT851", "unusable-torch")
def unusable_torch() -> None:
    """Torch and DeepSpeed are installed and cannot be loaded.

    Why: a library they need is missing, or they are built for another system; every rank would end with the same
    error.
    Wrong: an image without `libgomp1`
    Right: what the last line of the error names, installed
    """


@reported_by("doctor", "ZT852", "impossible-op")
def impossible_op() -> None:
    """DeepSpeed cannot build an op that the run loads.

    Why: ops are compiled at the first start, after the data is prepared and the ranks have met.
    Wrong: `offload_optimizer: {device: nvme, …}` without libaio
    Right: `apt-get install libaio-dev`
    """


@reported_by("doctor", "ZT853", "no-cuda-toolkit")
def no_cuda_toolkit() -> None:
    """An op must be compiled for GPUs, and there is no CUDA compiler that DeepSpeed takes.

    Why: DeepSpeed compares the version of nvcc with the one torch was built with, and refuses to build when they
    differ. A `runtime` image has no nvcc.
    Wrong: torch built with CUDA 12.8 beside CUDA 13.0
    Right: a `devel` image of the same CUDA version, or `CUDA_HOME` set to one
    """


@reported_by("doctor", "ZT854", "left-lock")
def left_lock() -> None:
    """A build that was killed has left its lock.

    Why: torch makes a file `lock` beside an op while it builds it, keeps it open, and removes it at the end. Who finds
    one waits until it is gone, without a word and for ever. A lock that a process has open is never reported.
    Wrong: a build ended by Ctrl-C or for want of memory
    Right: the file removed that is named
    """


@reported_by("doctor", "ZT855", "torch-without-cuda")
def torch_without_cuda() -> None:
    """The run is meant for GPUs, and torch is built without CUDA.

    Why: such a torch sees no GPU, whatever the machine has.
    Wrong: torch 2.13.0+cpu with `hardware: {gpu: H100-SXM}`
    Right: a torch with CUDA, or `gpu: cpu`
    """


@reported_by("doctor", "ZT856", "old-driver")
def old_driver() -> None:
    """The driver is older than the CUDA version torch is built with.

    Why: a driver runs programs of its own major version of CUDA and of earlier ones.
    Wrong: torch built with CUDA 13.0, a driver that knows up to 12.4
    Right: a newer driver, or a torch built with CUDA 12
    """


@reported_by("doctor", "ZT857", "too-few-gpus")
def too_few_gpus() -> None:
    """A machine has fewer GPUs than ranks.

    Why: each rank takes a device of its own.
    Wrong: `gpus_per_node: 8` where `CUDA_VISIBLE_DEVICES` is `0,1`
    Right: `gpus_per_node: 2`, or all eight visible
    """


@reported_by("doctor", "ZT858", "other-gpu")
def other_gpu() -> None:
    """The machine has another GPU than the run is meant for.

    Why: number formats, memory and speed were judged by the one that is named.
    Wrong: `gpu: H100-SXM` on a machine with A100
    Right: `gpu: A100-SXM-80`
    """


@reported_by("doctor", "ZT859", "busy-gpu")
def busy_gpu() -> None:
    """Someone else uses the memory of a GPU.

    Why: what is taken is missing, and ranks fail for want of memory at a step that depends on the neighbour.
    Wrong: a process of last night's run still there
    Right: it ended, or other devices chosen with `CUDA_VISIBLE_DEVICES`
    """


@reported_by("doctor", "ZT860", "sliced-gpu")
def sliced_gpu() -> None:
    """A GPU is cut into MIG slices, and the run has several ranks.

    Why: CUDA gives a process one slice, and NCCL does not join slices.
    Wrong: `gpus_per_node: 4` on an A100 in MIG mode
    Right: one rank on one slice, or MIG mode off
    """


@reported_by("doctor", "ZT861", "small-shared-memory")
def small_shared_memory() -> None:
    """There is too little of /dev/shm.

    Why: DeepSpeed's op for processors fills 66 MiB of it for each rank, and a rank that finds it full ends by SIGSEGV;
    NCCL passes data between the GPUs of a machine there. Containers have 64 MiB unless more is asked for.
    Wrong: `docker run image zerotrain train run.yaml`
    Right: `docker run --shm-size=1g image zerotrain train run.yaml`
    """


@reported_by("doctor", "ZT862", "too-little-memory")
def too_little_memory() -> None:
    """Weights and optimizer states do not fit into the memory of the host.

    Why: the kernel ends the largest process without a word. What is told is the least that is needed: activations,
    gradients and the interpreter come on top.
    Wrong: AdamW for 7B parameters in 64 GiB
    Right: offload on more machines, a higher ZeRO stage, a smaller model
    """


@reported_by("doctor", "ZT863", "unwritable-directory")
def unwritable_directory() -> None:
    """A directory the run writes to cannot be written.

    Why: checkpoints, prepared data and compiled ops have their places, and a container or another user may own them.
    Wrong: `runs/` made by root
    Right: `chown -R $USER runs`
    """


@reported_by("doctor", "ZT864", "full-disk")
def full_disk() -> None:
    """The disk has less space than the checkpoints take.

    Why: an optimizer's state is several times the weights, and the newest checkpoint is whole before the oldest goes.
    Wrong: `keep_last: 10` for 98 GB each on a disk of 500 GB
    Right: `keep_last: 2`, or another disk
    """


@reported_by("doctor", "ZT865", "offload-to-memory")
def offload_to_memory() -> None:
    """States are offloaded to a disk that is memory.

    Why: a tmpfs takes the same memory that offloading was to spare.
    Wrong: `nvme_path: /dev/shm/swap`
    Right: `nvme_path: /mnt/nvme/swap`
    """


@reported_by("doctor", "ZT866", "few-open-files")
def few_open_files() -> None:
    """A process may open few files.

    Why: ranks hold a connection to each other and a file for each part of the data.
    Wrong: `ulimit -n 256`
    Right: `ulimit -n 65536`
    """


@reported_by("doctor", "ZT867", "unknown-interface")
def unknown_interface() -> None:
    """A network interface is chosen that the machine does not have.

    Why: NCCL and gloo fail when the ranks meet, or wait until their time is up.
    Wrong: `NCCL_SOCKET_IFNAME=ib0` where there is `eth0`
    Right: `NCCL_SOCKET_IFNAME=eth0`, or unset
    """


@reported_by("doctor", "ZT868", "unknown-hostname")
def unknown_hostname() -> None:
    """Nothing knows an address of this machine's name.

    Why: gloo looks up the name to find the interface it listens on, and falls back to one that other machines cannot
    reach.
    Wrong: a container with a name that is not in `/etc/hosts`
    Right: `127.0.0.1 NAME` in `/etc/hosts`, or `GLOO_SOCKET_IFNAME=eth0`
    """


@reported_by("doctor", "ZT869", "no-loopback")
def no_loopback() -> None:
    """A process cannot connect to another of the same machine.

    Why: ranks meet at 127.0.0.1.
    Wrong: a sandbox whose loopback is down
    Right: `ip link set lo up`
    """


@reported_by("doctor", "ZT870", "taken-port")
def taken_port() -> None:
    """The port in `MASTER_PORT` cannot be listened on.

    Why: a worker that is started by hand meets the others there. `zerotrain train` looks for a free port itself.
    Wrong: `MASTER_PORT=29500` while another run has it
    Right: another number, or unset
    """


@reported_by("doctor", "ZT871", "bad-hostfile")
def bad_hostfile() -> None:
    """The hostfile cannot be read, or DeepSpeed refuses a line of it.

    Why: DeepSpeed goes on without a word, on this machine alone, when the file is not there, and refuses it when a
    line is anything but `host slots=N`.
    Wrong: `worker-1: 8`
    Right: `worker-1 slots=8`
    """


@reported_by("doctor", "ZT872", "too-few-hosts")
def too_few_hosts() -> None:
    """The hostfile has fewer machines or slots than the run is meant for.

    Why: batch sizes and parallel degrees were settled for the ranks in `hardware`.
    Wrong: `num_nodes: 4` with a hostfile of two lines
    Right: as many lines as machines
    """


@reported_by("doctor", "ZT873", "no-pdsh")
def no_pdsh() -> None:
    """There is no pdsh.

    Why: the `deepspeed` launcher starts ranks on several machines with it.
    Wrong: an image without pdsh
    Right: `apt-get install pdsh`
    """


@reported_by("doctor", "ZT874", "silent-host")
def silent_host() -> None:
    """A machine of the hostfile does not answer over ssh.

    Why: the launcher logs in without a password and starts the same interpreter at the same path.
    Wrong: a key that was never copied there
    Right: `ssh-copy-id worker-1`
    """


@reported_by("doctor", "ZT875", "differing-host")
def differing_host() -> None:
    """A machine has other versions than this one.

    Why: ranks with different versions disagree about what they send each other, or about the loss.
    Wrong: torch 2.12 on worker-2, 2.13 elsewhere
    Right: one environment on all machines
    """


@reported_by("doctor", "ZT876", "missing-path")
def missing_path() -> None:
    """A machine does not see the working directory, the spec or the data.

    Why: ranks are started in the same directory, and read the run and the data from there.
    Wrong: `/home/me/project` on the local disk of one machine
    Right: a directory that all machines share
    """


@reported_by("doctor", "ZT877", "wrong-clock")
def wrong_clock() -> None:
    """The clock of a machine is off by more than a second.

    Why: times in logs and metrics then mislead, and caches on shared disks take old files for new ones.
    Wrong: a machine without a time server
    Right: `chronyd` on all machines
    """


@reported_by("rehearsing a run", "ZT878", "unshrinkable-model")
def unshrinkable_model() -> None:
    """The model cannot be made small for a rehearsal, because its config is not known.

    Why: sizes must fit one another, and what they are called differs from one architecture to another.
    Wrong: `zerotrain rehearse` with `model: {pretrained: org/name}`, whose `config.json` is on the hub
    Right: `model: {pretrained: ./name}`, a folder with its `config.json`
    """


RULES: tuple[Rule, ...] = (
    untested_version,
    unusable_torch,
    impossible_op,
    no_cuda_toolkit,
    left_lock,
    torch_without_cuda,
    old_driver,
    too_few_gpus,
    other_gpu,
    busy_gpu,
    sliced_gpu,
    small_shared_memory,
    too_little_memory,
    unwritable_directory,
    full_disk,
    offload_to_memory,
    few_open_files,
    unknown_interface,
    unknown_hostname,
    no_loopback,
    taken_port,
    bad_hostfile,
    too_few_hosts,
    no_pdsh,
    silent_host,
    differing_host,
    missing_path,
    wrong_clock,
    unshrinkable_model,
)
