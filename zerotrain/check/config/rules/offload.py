"""DeepSpeed configs: offload to CPU and NVMe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zerotrain.check.config.case import AUTO, ConfigCase
from zerotrain.check.config.partitioning import Z, device_is_filled, offload_key
from zerotrain.check.config.rules.zenflow import RULES as ZENFLOW_RULES
from zerotrain.check.rule import Rule, config_rule
from zerotrain.diagnostic import Diagnostic

OPTIMIZER, PARAM = f"{Z}.offload_optimizer", f"{Z}.offload_param"

NVME_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    OPTIMIZER: {
        "nvme_path": None,
        "buffer_count": None,
        "pipeline_read": False,
        "pipeline_write": False,
        "fast_init": False,
    },
    PARAM: {"nvme_path": None, "buffer_count": None, "buffer_size": None, "max_in_cpu": None},
}
"""Options that only NVMe offload reads, with the value that asks for nothing; runtime/zero/stage3.py."""

CPU_OPTIMIZERS = ("adam", "adamw", "adagrad", "lion")
"""Optimizers DeepSpeed has a CPU kernel for; runtime/engine.py."""

TORCH_OPTIMIZERS = ("sgd", "rmsprop", "adadelta", "adamax", "asgd", "nadam", "radam", "muadam", "muadamw", "musgd")
"""Optimizers that step in plain torch wherever their states are."""


def _uses_torch_adam(case: ConfigCase) -> bool:
    return case.optimizer in ("adam", "adamw") and case.get("optimizer.params.torch_adam") is True


def _offloads_optimizer(case: ConfigCase) -> bool:
    return case.known_stage in (1, 2, 3) and case.device("offload_optimizer") is not None


@config_rule("ZT340", "offload-param-below-stage-3")
def offload_param_below_stage_3(case: ConfigCase) -> Iterator[Diagnostic]:
    """Parameters are to be offloaded below stage 3.

    Why: only stage 3 partitions parameters. Below it DeepSpeed accepts the section and never looks at it: the
    parameters stay on the GPU.
    Wrong: `{"zero_optimization": {"stage": 2, "offload_param": {"device": "cpu"}}}`
    Right: `{"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}}}`
    """
    stage, device = case.known_stage, case.device("offload_param")
    if stage in (0, 1, 2) and device:
        message = f"stage {stage} ignores `offload_param`: parameters stay on the GPU"
        yield case.ignored_key(offload_key(case, "offload_param"), message, help="use `stage: 3`, or remove it")


@config_rule("ZT341", "offload-optimizer-at-stage-0")
def offload_optimizer_at_stage_0(case: ConfigCase) -> Iterator[Diagnostic]:
    """Optimizer states are to be offloaded without ZeRO.

    Why: at stage 0 nothing is offloaded, but DeepSpeed picks its CPU optimizer all the same, which then finds the
    weights on a GPU and fails at the first step.
    Wrong: `{"zero_optimization": {"stage": 0, "offload_optimizer": {"device": "cpu"}}}`
    Right: `{"zero_optimization": {"stage": 1, "offload_optimizer": {"device": "cpu"}}}`
    """
    if case.known_stage == 0 and case.device("offload_optimizer") and not _steps_on_wrong_device(case):
        picks = case.optimizer in CPU_OPTIMIZERS and not _uses_torch_adam(case)
        message = "stage 0 offloads nothing" + (", but makes DeepSpeed pick its CPU optimizer" if picks else "")
        yield case.warning(
            offload_key(case, "offload_optimizer"), message, help="use `stage: 1` or higher, or remove it"
        )


@config_rule("ZT342", "cpu-optimizer-on-gpu")
def cpu_optimizer_on_gpu(case: ConfigCase) -> Iterator[Diagnostic]:
    """The CPU optimizer is to step on weights that are on a GPU.

    Why: with `offload_optimizer` DeepSpeed picks its CPU optimizer, but stage 0 offloads nothing; the first step
    asserts that the weights are on the CPU. Read in the source, as it takes a GPU to see it.
    Wrong: `{"zero_optimization": {"stage": 0, "offload_optimizer": {"device": "cpu"}}}` on GPUs
    Right: `{"zero_optimization": {"stage": 1, "offload_optimizer": {"device": "cpu"}}}` on GPUs
    """
    if case.known_stage == 0 and case.device("offload_optimizer") and _steps_on_wrong_device(case):
        message = "at stage 0 the weights stay on the GPU, where DeepSpeed's CPU optimizer cannot step"
        yield case.error(offload_key(case, "offload_optimizer"), message, help="use `stage: 1` or higher, or remove it")


def _steps_on_wrong_device(case: ConfigCase) -> bool:
    on_gpu = case.gpu is not None and not case.gpu.host
    return on_gpu and case.optimizer in CPU_OPTIMIZERS and not _uses_torch_adam(case)


@config_rule("ZT343", "offload-without-device")
def offload_without_device(case: ConfigCase) -> Iterator[Diagnostic]:
    """Offload has options but no device.

    Why: the device is `none` unless it is given, which switches offload off, and the options with it.
    Wrong: `{"zero_optimization": {"stage": 3, "offload_param": {"pin_memory": true}}}`
    Right: `{"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu", "pin_memory": true}}}`
    """
    for key in (OPTIMIZER, PARAM):
        device = case.get(f"{key}.device")
        off = device == "none" or not case.has(f"{key}.device") or (device == AUTO and case.reader == "raw")
        options = [name for name, value in case.mapping(key).items() if name != "device" and _asks(value)]
        if off and options:
            name, which = key.removeprefix(f"{Z}."), ", ".join(f"`{option}`" for option in options)
            reason = "is off" if device == "none" else "has no `device`, so it is off"
            message = f"`{name}` {reason}: {which} {'does' if len(options) == 1 else 'do'} nothing"
            yield case.warning(key, message, help="set `device` to `cpu`, or remove the section")


def _asks(value: Any) -> bool:
    return value is not None and value is not False and value != AUTO


@config_rule("ZT344", "missing-nvme-path")
def missing_nvme_path(case: ConfigCase) -> Iterator[Diagnostic]:
    """Stage 3 is to offload to NVMe, but no directory is given.

    Why: DeepSpeed joins the path with its own directories while it builds the engine, and fails with a `TypeError` or
    an assertion.
    Wrong: `{"zero_optimization": {"stage": 3, "offload_param": {"device": "nvme"}}}`
    Right: `{"zero_optimization": {"stage": 3, "offload_param": {"device": "nvme", "nvme_path": "/local_nvme"}}}`
    """
    for key in (OPTIMIZER, PARAM):
        path = case.get(f"{key}.nvme_path")
        is_missing = path is None or (path == AUTO and case.reader == "raw")
        if case.known_stage == 3 and case.get(f"{key}.device") == "nvme" and is_missing:
            message = f"`{key.removeprefix(f'{Z}.')}` on NVMe needs `nvme_path`"
            yield case.error(f"{key}.device", message, help="name a directory on a fast local disk")


@config_rule("ZT345", "empty-nvme-path")
def empty_nvme_path(case: ConfigCase) -> Iterator[Diagnostic]:
    """The directory for NVMe offload is an empty text.

    Why: an empty path is the directory the run is started in, which is seldom on a fast local disk.
    Wrong: `{"zero_optimization": {"stage": 3, "offload_param": {"device": "nvme", "nvme_path": ""}}}`
    Right: `{"zero_optimization": {"stage": 3, "offload_param": {"device": "nvme", "nvme_path": "/local_nvme"}}}`
    """
    for key in (OPTIMIZER, PARAM):
        if case.known_stage == 3 and case.get(f"{key}.device") == "nvme" and case.get(f"{key}.nvme_path") == "":
            message = "an empty `nvme_path` is the directory the run is started in"
            yield case.warning(f"{key}.nvme_path", message, help="name a directory on a fast local disk")


@config_rule("ZT346", "nvme-states-in-memory")
def nvme_states_in_memory(case: ConfigCase) -> Iterator[Diagnostic]:
    """Optimizer states are to live on NVMe below stage 3.

    Why: stages 1 and 2 know the host memory only, and take `nvme` for `cpu` without a word.
    Wrong: `{"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "nvme", "nvme_path": "/local_nvme"}}}`
    Right: the same at stage 3
    """
    stage = case.known_stage
    if stage in (1, 2) and case.device("offload_optimizer") == "nvme":
        message = f"stage {stage} cannot use NVMe: optimizer states stay out of `nvme_path`"
        yield case.warning(f"{OPTIMIZER}.device", message, help="use `stage: 3`, or `device: cpu`")


@config_rule("ZT347", "ignored-offload-option")
def ignored_offload_option(case: ConfigCase) -> Iterator[Diagnostic]:
    """An option of offload is read only with another device, stage or option.

    Why: the swapping options are for NVMe, `super_offload` is for stage 3, and `cpuadam_cores_perc` is for
    `super_offload`; DeepSpeed accepts them everywhere and reads them nowhere else.
    Wrong: `{"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu", "max_in_cpu": 1e9}}}`
    Right: `{"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}}}`
    """
    stages = {OPTIMIZER: (1, 2, 3), PARAM: (3,)}
    for key, options in NVME_OPTIONS.items():
        is_read = case.get(f"{key}.device") != "cpu" or case.known_stage not in stages[key]
        for name, idle in () if is_read else options.items():
            value = case.get(f"{key}.{name}")
            if value is not None and value not in (AUTO, idle):
                message = f"`{name}` is for NVMe; with `device: cpu` it does nothing"
                yield case.ignored_key(f"{key}.{name}", message, help="remove it")
    if not _offloads_optimizer(case):
        return
    supers = case.on(f"{OPTIMIZER}.super_offload")
    if supers and case.known_stage != 3:
        message = f"stage {case.known_stage} ignores `super_offload`"
        yield case.ignored_key(f"{OPTIMIZER}.super_offload", message, help="use `stage: 3`, or remove it")
    if not supers and _asks(case.get(f"{OPTIMIZER}.cpuadam_cores_perc")):
        message = "`cpuadam_cores_perc` does nothing without `super_offload`"
        yield case.ignored_key(f"{OPTIMIZER}.cpuadam_cores_perc", message, help="remove it")


@config_rule("ZT348", "overruled-contiguous-gradients")
def overruled_contiguous_gradients(case: ConfigCase) -> Iterator[Diagnostic]:
    """Gradients are not to be copied to one buffer, but offload does so.

    Why: offload at stages 1 and 2 needs contiguous gradients, and switches them on.
    Wrong: `{"zero_optimization": {"stage": 2, "contiguous_gradients": false, "offload_optimizer": {"device": "cpu"}}}`
    Right: `{"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}`
    """
    offloads = case.known_stage in (1, 2) and case.device("offload_optimizer") == "cpu"
    if offloads and case.get(f"{Z}.contiguous_gradients") is False:
        message = "with `offload_optimizer` gradients are contiguous whatever `contiguous_gradients` says"
        yield case.warning(f"{Z}.contiguous_gradients", message, help="remove it")


def _uses_nvme(case: ConfigCase) -> bool:
    return any(case.get(f"{key}.device") in ("nvme", AUTO) for key in (OPTIMIZER, PARAM))


@config_rule("ZT349", "aio-without-nvme")
def aio_without_nvme(case: ConfigCase) -> Iterator[Diagnostic]:
    """Asynchronous I/O is set up, and nothing is on NVMe.

    Why: training uses the `aio` section for offload to NVMe and for `checkpoint.writer`, and for nothing else.
    Wrong: `{"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}}, "aio": {"queue_depth": 32}}`
    Right: `{"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}}}`
    """
    if case.mapping("aio") and not _uses_nvme(case) and not case.has("checkpoint.writer"):
        yield case.info("aio", "`aio` does nothing without offload to NVMe", help="remove it")


@config_rule("ZT350", "nvme-without-aio")
def nvme_without_aio(case: ConfigCase) -> Iterator[Diagnostic]:
    """Stage 3 offloads to NVMe with the I/O settings as they are.

    Why: by default one thread reads and writes with a queue of 8 requests, which is below what a fast disk can do.
    `ds_nvme_tune` finds the settings for a disk.
    Wrong: `{"zero_optimization": {"stage": 3, "offload_param": {"device": "nvme", "nvme_path": "/local_nvme"}}}`
    Right: the same with `"aio": {"queue_depth": 32, "intra_op_parallelism": 8}`
    """
    for key in (OPTIMIZER, PARAM):
        if case.known_stage == 3 and case.get(f"{key}.device") == "nvme" and not case.has("aio"):
            message = "without `aio` one thread moves everything to and from NVMe"
            yield case.info(f"{key}.device", message, help="add the `aio` section that `ds_nvme_tune` finds")
            return


@config_rule("ZT351", "refused-offload-ratio")
def refused_offload_ratio(case: ConfigCase) -> Iterator[Diagnostic]:
    """A part of the optimizer states is to be offloaded where only all can be.

    Why: only stage 3 can leave a part on the GPU, and only when DeepSpeed's CPU Adam steps on the rest; it asserts
    both.
    Wrong: `{"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu", "ratio": 0.5}}}`
    Right: `{"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "cpu", "ratio": 0.5}}}`
    """
    stage, ratio = case.known_stage, case.number(f"{OPTIMIZER}.ratio")
    if stage is None or ratio is None or not 0 <= ratio < 1:
        return
    if stage != 3:
        message = f"a `ratio` of {ratio:g} needs stage 3, and this is stage {stage}"
        yield case.error(f"{OPTIMIZER}.ratio", message, help="use `stage: 3`, or remove `ratio`")
    elif _offloads_optimizer(case) and case.optimizer and not _steps_with_cpu_adam(case):
        message = f"a `ratio` of {ratio:g} needs DeepSpeed's CPU Adam"
        yield case.error(f"{OPTIMIZER}.ratio", message, help="use `AdamW` without `torch_adam`, or remove `ratio`")


def _steps_with_cpu_adam(case: ConfigCase) -> bool:
    return case.optimizer in ("adam", "adamw") and not _uses_torch_adam(case)


@config_rule("ZT352", "refused-super-offload")
def refused_super_offload(case: ConfigCase) -> Iterator[Diagnostic]:
    """SuperOffload is on where it cannot work.

    Why: it asserts a CUDA GPU, and its optimizer asks for the device of each offloaded group, which there is only with
    a `device`. The second is read in the source, as it takes a GPU to see it.
    Wrong: `{"zero_optimization": {"stage": 3, "offload_optimizer": {"super_offload": true}}}`
    Right: `{"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "cpu", "super_offload": true}}}`
    """
    if case.known_stage != 3 or not case.on(f"{OPTIMIZER}.super_offload"):
        return
    if case.gpu is not None and case.gpu.host:
        yield case.error(f"{OPTIMIZER}.super_offload", "`super_offload` needs a CUDA GPU", help="remove it")
    elif not case.device("offload_optimizer") and not device_is_filled(case, "offload_optimizer"):
        yield case.error(f"{OPTIMIZER}.super_offload", "`super_offload` needs a `device`", help="add `device: cpu`")


@config_rule("ZT353", "lamb-with-offload")
def lamb_with_offload(case: ConfigCase) -> Iterator[Diagnostic]:
    """The states of Lamb are to be offloaded.

    Why: DeepSpeed's Lamb is a CUDA kernel and refuses tensors that are not on a GPU. Read in the source, as it takes a
    GPU to see it.
    Wrong: `{"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}, "optimizer": {"type": "Lamb"}}`
    Right: `{"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}, "optimizer": {"type": "AdamW"}}`
    """
    if _offloads_optimizer(case) and case.optimizer == "lamb":
        message = "DeepSpeed's Lamb cannot step on the CPU, where `offload_optimizer` puts its states"
        yield case.error("optimizer.type", message, help="use `AdamW`, or remove `offload_optimizer`")


@config_rule("ZT354", "torch-optimizer-on-cpu")
def torch_optimizer_on_cpu(case: ConfigCase) -> Iterator[Diagnostic]:
    """The optimizer steps in plain torch on the CPU.

    Why: offloaded states are updated on the CPU. DeepSpeed has vectorized kernels for Adam, AdamW, Adagrad and Lion
    there; anything else runs in plain torch, which takes several times as long.
    Wrong: `{"type": "AdamW", "params": {"torch_adam": true}}` with `offload_optimizer`
    Right: `{"type": "AdamW"}` with `offload_optimizer`
    """
    if not _offloads_optimizer(case):
        return
    if _uses_torch_adam(case):
        message = "with `torch_adam` the offloaded states are updated in plain torch"
        yield case.info("optimizer.params.torch_adam", message, help="remove it: DeepSpeed's CPU Adam is faster")
    elif case.optimizer in TORCH_OPTIMIZERS:
        message = f"DeepSpeed has no CPU kernel for `{case.get('optimizer.type')}`; it steps in plain torch"
        yield case.info("optimizer.type", message, help="`AdamW`, `Adagrad` and `Lion` have one")


RULES: tuple[Rule, ...] = (
    offload_param_below_stage_3,
    offload_optimizer_at_stage_0,
    cpu_optimizer_on_gpu,
    offload_without_device,
    missing_nvme_path,
    empty_nvme_path,
    nvme_states_in_memory,
    ignored_offload_option,
    overruled_contiguous_gradients,
    aio_without_nvme,
    nvme_without_aio,
    refused_offload_ratio,
    refused_super_offload,
    lamb_with_offload,
    torch_optimizer_on_cpu,
    *ZENFLOW_RULES,
)
