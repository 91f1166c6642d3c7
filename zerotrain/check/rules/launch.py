"""ZT8: launch and environment."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.check.case import Case
from zerotrain.check.dsschema.schema import versions
from zerotrain.check.rule import Rule, reported_by, rule
from zerotrain.compile.resolve import is_on_one_machine
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.environment import SET_BY_LAUNCHERS, SET_BY_ZEROTRAIN, is_secret
from zerotrain.spec.launch import DeepSpeedLaunch, KubernetesLaunch, TorchrunLaunch
from zerotrain.spec.suggest import listed
from zerotrain.spec.volumes import KEPT, is_below


@reported_by("starting workers", "ZT801", "no-compiler")
def no_compiler() -> None:
    """There is no C++ compiler, or no ninja.

    Why: on a CPU DeepSpeed compiles its communication and optimizer ops at first use.
    Wrong: a slim container image
    Right: `apt-get install g++`, `pip install ninja`
    """


@reported_by("starting workers", "ZT802", "missing-packages")
def missing_packages() -> None:
    """Packages that training needs are not installed.

    Why: `pip install zerotrain` brings only what checking needs.
    Wrong: `pip install zerotrain`
    Right: `pip install 'zerotrain[train]'`
    """


@reported_by("a rank", "ZT816", "out-of-memory")
def out_of_memory() -> None:
    """A rank has run out of memory.

    Why: weights, states and activations of a micro-batch did not fit; the finding says where it happened.
    Wrong: `batch: {global_batch_size: 256, micro_batch_size: 64}` on small GPUs
    Right: `micro_batch_size: 8`, or `launch: {type: local, on_oom: adapt}`, which finds one that fits
    """


@reported_by("a rank", "ZT817", "absent-ranks")
def absent_ranks() -> None:
    """Ranks did not come when all were to meet.

    Why: a machine did not start, prepares its data longer than the others, or cannot reach the first one; torch's own
    message names nobody.
    Wrong: a hostfile with a machine that is down
    Right: that machine left out with `launch.exclude`, or `launch: {start_timeout: 1 hour}` for a slow one
    """


@reported_by("a rank", "ZT818", "unmet-ranks")
def unmet_ranks() -> None:
    """A rank cannot get to where all meet.

    Why: the name of the first machine is not known here, its port is taken or closed, or rank 0 has not started.
    Wrong: `launch: {type: torchrun, endpoint: "localhost:29500"}` on several machines
    Right: an address that every machine can reach
    """


@reported_by("the engine", "ZT803", "engine-differs")
def engine_differs() -> None:
    """The engine does not use what was compiled.

    Why: after `deepspeed.initialize` every value that touches convergence is read back; a difference stops the run
    before its first step.
    Wrong: a DeepSpeed version that means something else by a key
    Right: the versions in `constraints.txt`, or a report of the difference
    """


@reported_by("the engine", "ZT804", "unread-key")
def unread_key() -> None:
    """DeepSpeed never looked at a key it was given.

    Why: a key nobody reads has no effect, whatever it says; in the `deepspeed` block it is probably misspelt.
    Wrong: `deepspeed: {gradient_cliping: 0.5}`
    Right: the key spelt as DeepSpeed reads it
    """


@reported_by("starting workers", "ZT805", "failed-worker")
def failed_worker() -> None:
    """A worker ended with an error that zerotrain does not know.

    Why: its traceback is in the log of its rank.
    Wrong: anything from a bug to a lost machine
    Right: read the log that is named; `zerotrain resume` continues from the last checkpoint
    """


@reported_by("starting workers", "ZT806", "killed-worker")
def killed_worker() -> None:
    """A worker was ended by a signal.

    Why: the system's memory ran out, or someone ended it.
    Wrong: more memory needed than the machine has
    Right: a smaller micro-batch, or `zerotrain resume` to continue from the last checkpoint
    """


@reported_by("the engine", "ZT807", "leaking-documents")
def leaking_documents() -> None:
    """Documents packed into one sample see each other.

    Why: `packing: isolated` promises that they do not. Before the first step the model is shown the same document
    after two different ones; what it predicts must not change.
    Wrong: `packing: isolated` with an architecture that does not look at positions
    Right: `packing: none`
    """


@reported_by("starting workers", "ZT808", "named-devices")
def named_devices() -> None:
    """The launcher cannot read which devices are visible.

    Why: the `deepspeed` launcher drops `CUDA_VISIBLE_DEVICES` and asks for devices by number, so one that is named by
    its UUID, as MIG slices are, would be replaced by the first of the machine without a word.
    Wrong: `CUDA_VISIBLE_DEVICES=MIG-4d80… zerotrain train run.yaml`
    Right: `launch: {type: torchrun}`
    """


@rule("ZT810", "one-machine-launcher")
def one_machine_launcher(case: Case) -> Iterator[Diagnostic]:
    """The launcher starts ranks on this machine only, but the run is meant for several.

    Why: the other machines would never join, and the ranks here would wait for them.
    Wrong: `{launch: {type: local}, hardware: {num_nodes: 4}}`
    Right: `launch: {type: deepspeed, hostfile: hosts}`
    """
    launch, nodes = case.spec.launch, case.topology.num_nodes
    if nodes > 1 and is_on_one_machine(launch):
        message = f"`{launch.type}` starts ranks on one machine, not on {nodes}"
        key = "launch.type" if "launch" in case.spec.model_fields_set else "hardware.num_nodes"
        where = "add `endpoint: HOST:PORT`, where the machines meet, or " if launch.type == "torchrun" else ""
        yield case.error(key, message, help=f"{where}use `launch: {{type: deepspeed, hostfile: …}}`")


@rule("ZT811", "no-hostfile")
def no_hostfile(case: Case) -> Iterator[Diagnostic]:
    """The run is meant for several machines, but the `deepspeed` launcher is not told which.

    Why: without a hostfile the launcher starts everything here.
    Wrong: `{launch: {type: deepspeed}, hardware: {num_nodes: 2}}`
    Right: `launch: {type: deepspeed, hostfile: hosts}`
    """
    launch = case.spec.launch
    if isinstance(launch, DeepSpeedLaunch) and launch.hostfile is None and case.topology.num_nodes > 1:
        message = f"no hostfile names the {case.topology.num_nodes} machines"
        yield case.error("launch", message, help="add `hostfile:`, with lines of `host slots=N`")


@rule("ZT812", "include-and-exclude")
def include_and_exclude(case: Case) -> Iterator[Diagnostic]:
    """Hosts are both included and excluded.

    Why: the `deepspeed` launcher refuses the two together.
    Wrong: `{include: worker-1, exclude: worker-2}`
    Right: one of the two
    """
    launch = case.spec.launch
    if isinstance(launch, DeepSpeedLaunch) and launch.include and launch.exclude:
        yield case.error("launch.exclude", "`include` and `exclude` are both given", help="keep one of the two")


@reported_by("starting workers", "ZT809", "other-deepspeed")
def other_deepspeed() -> None:
    """Another DeepSpeed is installed than the spec is meant for.

    Why: versions differ in defaults that change the loss; what was checked for one says nothing about another.
    Wrong: `software: {deepspeed: 0.18.9}` where 0.19.8 is installed
    Right: the version installed that is named, or the spec changed and checked again
    """


@rule("ZT813", "unknown-deepspeed-version")
def unknown_deepspeed_version(case: Case) -> Iterator[Diagnostic]:
    """The DeepSpeed version is not one whose verdict can be predicted.

    Why: what DeepSpeed reads and refuses changes with its versions; there is a snapshot of some of them.
    Wrong: `software: {deepspeed: 0.9.2}`
    Right: `software: {deepspeed: 0.19.8}`
    """
    version = case.spec.software.deepspeed
    if version is not None and version not in versions():
        known = listed(versions())
        yield case.error("software.deepspeed", f"nothing is known of DeepSpeed `{version}`", help=f"use {known}")


@rule("ZT814", "reserved-variable")
def reserved_variable(case: Case) -> Iterator[Diagnostic]:
    """A variable is set that each rank, machine or start has a value of its own for.

    Why: launchers number the ranks and choose where they meet through the environment; one value for all of them would
    make every rank the same one. Others follow from keys of the spec.
    Wrong: `launch: {type: local, environment: {MASTER_PORT: "29500"}}`
    Right: `launch: {type: local, environment: {NCCL_DEBUG: INFO}}`
    """
    launch = case.spec.launch
    given = [("environment", launch.environment)]
    given += [("secrets", launch.secrets)] if isinstance(launch, KubernetesLaunch) else []
    for key, name in ((key, name) for key, names in given for name in names):
        owner = "the launcher" if name in SET_BY_LAUNCHERS else "zerotrain"
        meaning = SET_BY_LAUNCHERS.get(name) or SET_BY_ZEROTRAIN.get(name)
        if meaning:
            message = f"`{name}` is set by {owner}: {meaning}"
            yield case.error(f"launch.{key}.{name}", message, help="remove it")


@rule("ZT815", "written-secret")
def written_secret(case: Case) -> Iterator[Diagnostic]:
    """A variable with the name of a secret is in the spec.

    Why: the spec is copied to the run directory and often kept in version control, where everyone reads it.
    Wrong: `launch: {type: local, environment: {HF_TOKEN: hf_abc}}`
    Right: the variable set in the environment that `zerotrain train` is called in, or a secret of the scheduler's
    """
    for name in case.spec.launch.environment:
        if is_secret(name):
            message = f"the value of `{name}` will be in the run directory, for everyone to read"
            help = "set it where the run is started"
            if isinstance(case.spec.launch, KubernetesLaunch):
                help = f"name the secret of the cluster that holds it: `launch.secrets.{name}: SECRET/KEY`"
            yield case.error(f"launch.environment.{name}", message, help=help)


@rule("ZT842", "restarts-without-c10d")
def restarts_without_c10d(case: Case) -> Iterator[Diagnostic]:
    """Ranks are to start again, but meet in a way that works once.

    Why: with the static rendezvous torch keeps one store for all starts and no longer tells them apart (2.13,
    distributed/rendezvous.py), so that new ranks look for dead ones at their old addresses, and fail most of the time.
    Wrong: `launch: {type: torchrun, rendezvous: static, max_restarts: 3}`
    Right: `launch: {type: torchrun, rendezvous: c10d, max_restarts: 3}`
    """
    launch = case.spec.launch
    if isinstance(launch, TorchrunLaunch) and launch.max_restarts and launch.rendezvous == "static":
        message = f"ranks that start again, up to {launch.max_restarts} times, would look for dead ones"
        yield case.error("launch.rendezvous", message, help="use `rendezvous: c10d`")


@rule("ZT843", "runs-gone-with-pods")
def runs_gone_with_pods(case: Case) -> Iterator[Diagnostic]:
    """The runs are on no volume that is there after a pod is gone.

    Why: checkpoints are written below `launch.directory`; what a pod writes elsewhere is lost when it is replaced, and
    other pods never see it.
    Wrong: `launch: {type: kubernetes, image: zerotrain, volumes: []}`
    Right: `volumes: [{type: claim, name: training, path: /workspace}]`
    """
    launch = case.spec.launch
    if not isinstance(launch, KubernetesLaunch):
        return
    holders = [volume for volume in launch.volumes if is_below(launch.directory, volume.path)]
    holder = max(holders, key=lambda volume: len(volume.path), default=None)
    if holder is None:
        message = f"`{launch.directory}`, where the runs are, is on none of the volumes"
    elif not isinstance(holder, KEPT):
        message = f"`{launch.directory}`, where the runs are, is on a `{holder.type}` volume"
    elif holder.read_only:
        message = f"`{launch.directory}`, where the runs are, is on a volume that nothing is written to"
    else:
        return
    path = launch.directory
    yield case.error("launch.volumes", message, help=f"add `{{type: claim, name: CLAIM, path: {path}}}`")


@rule("ZT845", "given-twice")
def given_twice(case: Case) -> Iterator[Diagnostic]:
    """Two volumes are at one place, or a variable has two values.

    Why: Kubernetes refuses two volumes at one place; a variable would have one of its values, whichever comes last.
    Wrong: `{environment: {HF_TOKEN: abc}, secrets: {HF_TOKEN: hub/token}}`
    Right: one of the two
    """
    launch = case.spec.launch
    if not isinstance(launch, KubernetesLaunch):
        return
    taken = {"/dev/shm": "shared memory is there", "/etc/zerotrain": "the spec is there"}
    for i, volume in enumerate(launch.volumes):
        if volume.path in taken:
            message = f"`{volume.path}` is taken: {taken[volume.path]}"
            yield case.error(f"launch.volumes[{i}].path", message, help="choose another path")
        taken[volume.path] = f"volume {i + 1} is there"
    for name in sorted(launch.secrets.keys() & launch.environment.keys()):
        yield case.error(
            f"launch.secrets.{name}", f"`{name}` is in `launch.environment` too", help="keep one of the two"
        )


@reported_by("starting workers", "ZT844", "fresh-elsewhere")
def fresh_elsewhere() -> None:
    """A run is to start over whose directory is where this machine cannot see it.

    Why: on Kubernetes the run directory is on a volume of the pods; they continue a run that is there.
    Wrong: `zerotrain train run.yaml --on kubernetes --fresh`
    Right: another `name`
    """


@reported_by("starting workers", "ZT840", "no-scheduler")
def no_scheduler() -> None:
    """No job can be submitted from this machine.

    Why: `sbatch` and `kubectl` hand a job to a scheduler; they are there on login nodes, not on every laptop.
    Wrong: `zerotrain train run.yaml --on slurm` on a laptop
    Right: the same on a login node, or `--dry-run` to see what would be submitted
    """


@reported_by("starting workers", "ZT841", "refused-job")
def refused_job() -> None:
    """The scheduler does not take the job.

    Why: its own words are in the message: an account, a partition or resources that are not there.
    Wrong: `launch: {type: slurm, partition: no_such}`
    Right: a partition that `sinfo` shows
    """


RULES: tuple[Rule, ...] = (
    no_compiler,
    missing_packages,
    engine_differs,
    unread_key,
    failed_worker,
    killed_worker,
    out_of_memory,
    absent_ranks,
    unmet_ranks,
    leaking_documents,
    named_devices,
    other_deepspeed,
    one_machine_launcher,
    no_hostfile,
    include_and_exclude,
    unknown_deepspeed_version,
    reserved_variable,
    written_secret,
    restarts_without_c10d,
    runs_gone_with_pods,
    given_twice,
    fresh_elsewhere,
    no_scheduler,
    refused_job,
)
