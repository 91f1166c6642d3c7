"""Slurm: a batch script outside an allocation, `srun` inside one."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from socket import gethostname

from zerotrain.launch.environment import settled_environment, shared_environment
from zerotrain.launch.job import WORKER, Command, Job, Order
from zerotrain.runs.attempts import STOPPED
from zerotrain.spec.launch import SlurmLaunch

_RANK = (
    "RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID "
    "WORLD_SIZE=$SLURM_NTASKS LOCAL_WORLD_SIZE={per_node} LOCAL_SIZE={per_node}"
)


def prepare(order: Order) -> Job:
    """Returns the batch script and its submission; inside an allocation, the `srun` that starts the ranks."""
    launch = order.spec.launch
    assert isinstance(launch, SlurmLaunch), "chosen by its type"
    if order.attempt is not None:
        return Job((_srun(order),), order.log, order.grace)
    script = order.run.logs / "job.sbatch"
    return Job(
        (Command(("sbatch", "--parsable", str(script)), {}),),
        order.log,
        order.grace,
        {script: batch_script(order, launch)},
        is_submitted=True,
        environment=settled_environment(order),
        hints=(f"how it is     zerotrain status {order.run.root}", f"what it says  zerotrain logs {order.run.root}"),
    )


def is_outside() -> bool:
    """Tells whether this process is in no allocation, and must ask Slurm for one."""
    return "SLURM_JOB_ID" not in os.environ


def batch_script(order: Order, launch: SlurmLaunch) -> str:
    """Returns the script that `sbatch` takes; the launcher in it runs on the first node of the allocation."""
    here, run = Path.cwd(), order.run.root
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {shlex.quote(option)}" for option in _options(order, launch)),
        f"cd {shlex.quote(str(here))} || exit 2",
        *launch.setup,
        f"{shlex.join((sys.executable, '-m', 'zerotrain', 'resume', str(run), '--unless-finished'))} &",
        "launcher=$!",
        # Slurm tells the batch script of a preemption too, and waits for it alone.
        "trap 'kill -TERM $launcher' TERM",
        "wait $launcher; code=$?",
        "while kill -0 $launcher 2> /dev/null; do wait $launcher; code=$?; done",
        *(_requeue() if launch.requeue else ()),
        "exit $code",
    ]
    return "\n".join(lines) + "\n"


def _options(order: Order, launch: SlurmLaunch) -> Iterator[str]:
    topology = order.topology
    yield f"--job-name={order.run.name}"
    yield f"--nodes={topology.num_nodes}"
    yield f"--ntasks-per-node={topology.gpus_per_node}"
    logs = str(order.run.logs.absolute()).replace("%", "%%")
    yield f"--output={logs}/{'slurm-%A_%a.log' if launch.array > 1 else 'slurm-%j.log'}"
    yield "--open-mode=append"
    yield f"--signal=USR1@{launch.save_before.seconds}"
    yield "--requeue" if launch.requeue else "--no-requeue"
    gres = (f"gpu:{topology.gpus_per_node}" if order.has_gpus else None) if launch.gres == "auto" else launch.gres
    given = {
        "time": None if launch.time is None else _time(launch.time.seconds),
        "array": f"1-{launch.array}%1" if launch.array > 1 else None,
        "partition": launch.partition,
        "account": launch.account,
        "qos": launch.qos,
        "constraint": launch.constraint,
        "gres": gres,
        "cpus-per-task": launch.cpus_per_task,
        "mem": launch.memory,
    }
    yield from (f"--{name}={value}" for name, value in given.items() if value is not None)
    yield from ["--exclusive"] if launch.exclusive else []
    yield from launch.sbatch_args


def _requeue() -> tuple[str, ...]:
    return (
        f"if [ $code -eq {STOPPED} ]; then",
        '  scontrol requeue "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"',
        "fi",
    )


def _srun(order: Order) -> Command:
    """Returns what starts one process per rank in this allocation; ranks meet on this node, the first."""
    topology, meet = order.topology, {"MASTER_ADDR": gethostname(), "MASTER_PORT": str(order.port)}
    ranks = _RANK.format(per_node=topology.gpus_per_node)
    worker = shlex.join((sys.executable, "-u", "-m", WORKER, *order.worker[1:]))
    arguments = (
        *("srun", "--nodes", str(topology.num_nodes), "--ntasks", str(topology.world_size)),
        *("--ntasks-per-node", str(topology.gpus_per_node), "--kill-on-bad-exit=1", "--mpi=none", "--unbuffered"),
        *("bash", "-c", f"{ranks} exec {worker}"),
    )
    return Command(arguments, shared_environment(order) | meet)


def _time(seconds: int) -> str:
    """Returns a time as Slurm reads it: `D-HH:MM:SS`."""
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days}-{hour:02d}:{minute:02d}:{second:02d}"
