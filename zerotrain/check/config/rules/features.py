"""DeepSpeed configs: activation checkpointing, profiling, logging, monitors, inputs and outputs around training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from zerotrain.check.config.case import AUTO, ConfigCase, whole
from zerotrain.check.config.conversion import shown
from zerotrain.check.config.rules.axes import is_read
from zerotrain.check.rule import Rule, config_rule
from zerotrain.diagnostic import Diagnostic

CHECKPOINTING_SWITCHES = (
    "partition_activations",
    "cpu_checkpointing",
    "contiguous_memory_optimization",
    "synchronize_checkpoint_boundary",
    "profile",
)

MONITOR_PACKAGES: Mapping[str, str] = {"tensorboard": "tensorboard", "wandb": "wandb", "comet": "comet_ml>=3.41.0"}
"""The package each monitor imports; monitor/utils.py."""

AIO_NUMBERS = ("block_size", "queue_depth", "intra_op_parallelism")


@config_rule("ZT820", "idle-activation-checkpointing")
def idle_activation_checkpointing(case: ConfigCase) -> Iterator[Diagnostic]:
    """Activation checkpointing is switched on in the config, which does not switch it on.

    Why: the engine never looks at the section. It only sets up DeepSpeed's own checkpoint function, for a script that
    calls `deepspeed.checkpointing.configure` and a model that calls `deepspeed.checkpointing.checkpoint`. Models of
    Hugging Face call neither, and keep every activation.
    Wrong: `{"activation_checkpointing": {"partition_activations": true}}` for a model of Hugging Face
    Right: `model.gradient_checkpointing_enable()`, or `gradient_checkpointing: true` in the arguments of the Trainer
    """
    section = case.mapping("activation_checkpointing")
    chosen = [name for name in CHECKPOINTING_SWITCHES if section.get(name) is True]
    if not chosen or case.is_compiled:
        return
    if case.reader == "raw":
        message = "the engine does not apply `activation_checkpointing` by itself"
        help = "call `deepspeed.checkpointing.configure` in the script and `checkpoint` in the model"
    else:
        message = "nothing applies `activation_checkpointing` to a model of Hugging Face"
        help = "use `gradient_checkpointing` of the Trainer, or `model.gradient_checkpointing_enable()`"
    yield case.ignored_key("activation_checkpointing", message, help=help)


@config_rule("ZT821", "contiguous-checkpoints-alone")
def contiguous_checkpoints_alone(case: ConfigCase) -> Iterator[Diagnostic]:
    """Contiguous activation checkpoints are asked for without what they need.

    Why: the contiguous buffer holds partitioned activations, and its size follows from their number. Without either,
    `deepspeed.checkpointing.configure` stops with an assertion unless the script gives them as arguments.
    Wrong: `{"activation_checkpointing": {"contiguous_memory_optimization": true}}`
    Right: `{"activation_checkpointing": {"contiguous_memory_optimization": true, "partition_activations": true,
    "number_checkpoints": 24}}`
    """
    section = case.mapping("activation_checkpointing")
    if section.get("contiguous_memory_optimization") is not True or case.reader != "raw" or case.is_compiled:
        return
    missing = [] if section.get("partition_activations") else ["`partition_activations`"]
    missing += ["`number_checkpoints`"] if section.get("number_checkpoints") is None else []
    if missing:
        message = f"`contiguous_memory_optimization` needs {' and '.join(missing)}"
        yield case.warning(
            "activation_checkpointing.contiguous_memory_optimization", message, help="add what is missing"
        )


@config_rule("ZT823", "monitor-package")
def monitor_package(case: ConfigCase) -> Iterator[Diagnostic]:
    """A monitor is switched on that needs a package DeepSpeed does not install.

    Why: rank 0 imports it when the engine is built; where it is missing, the run ends there.
    Wrong: `{"wandb": {"enabled": true}}` in an image without wandb
    Right: the same after `pip install wandb`
    """
    for name, package in MONITOR_PACKAGES.items():
        if case.get(f"{name}.enabled") is True and not case.is_compiled:
            message = f"`{name}` needs a package that DeepSpeed does not bring"
            yield case.info(f"{name}.enabled", message, help=f'`pip install "{package}"` on the node of rank 0')


@config_rule("ZT824", "breakdown-on")
def breakdown_on(case: ConfigCase) -> Iterator[Diagnostic]:
    """Timers that wait for the GPU are left on.

    Why: `wall_clock_breakdown`, which an enabled `flops_profiler` switches on too, reads its timers after every
    micro-batch, and the host waits for the GPU to read them: for the whole run, not only at `profile_step`.
    Wrong: `{"wall_clock_breakdown": true}` in production
    Right: `{"wall_clock_breakdown": false}`
    """
    for key in ("wall_clock_breakdown", "flops_profiler.enabled"):
        if case.get(key) is True:
            message = "the host waits for the GPU after every micro-batch to read the timers"
            yield case.info(key, message, help="switch it off once you have seen the numbers")


@config_rule("ZT825", "profile-step-never-comes")
def profile_step_never_comes(case: ConfigCase) -> Iterator[Diagnostic]:
    """The profiler waits for a step that never comes.

    Why: it starts when the number of the step equals `profile_step`, and steps are counted from 0 in whole numbers.
    Wrong: `{"flops_profiler": {"enabled": true, "profile_step": -1}}`
    Right: `{"flops_profiler": {"enabled": true, "profile_step": 5}}`
    """
    step = case.get("flops_profiler.profile_step")
    never_comes = isinstance(step, int | float) and not (step >= 0 and step == step // 1)
    if case.get("flops_profiler.enabled") is True and never_comes:
        message = f"no step has the number `{step}`, so nothing is profiled"
        yield case.warning("flops_profiler.profile_step", message, help="write the number of a step, such as 5")


@config_rule("ZT960", "profile-step-is-no-number")
def profile_step_is_no_number(case: ConfigCase) -> Iterator[Diagnostic]:
    """The step the profiler is to look at is no number.

    Why: the engine compares it with the number of the step at every step, and fails at the first one; `null` does not
    mean the default.
    Wrong: `{"flops_profiler": {"enabled": true, "profile_step": null}}`
    Right: `{"flops_profiler": {"enabled": true, "profile_step": 5}}`
    """
    key = "flops_profiler.profile_step"
    step, is_left_over = case.get(key), case.get(key) == AUTO and case.reader != "raw"  # ZT917 tells of that
    is_used = bool(case.get("flops_profiler.enabled")) and not case.on("autotuning.enabled")
    if is_used and case.has(key) and not isinstance(step, int | float) and not is_left_over:
        message = f"the engine compares `profile_step` with a number, and it is {shown(step)}"
        yield case.error(key, message, help="write the number of a step, such as 5")


@config_rule("ZT826", "autotuning-ends-the-run")
def autotuning_ends_the_run(case: ConfigCase) -> Iterator[Diagnostic]:
    """Autotuning is switched on.

    Why: with it the engine profiles a few steps and then leaves the process with exit code 0, also in a run that
    the autotuner did not start: training looks finished after a handful of steps.
    Wrong: `{"autotuning": {"enabled": true}}` in a config for training
    Right: a config of its own for `deepspeed --autotuning run`
    """
    if case.get("autotuning.enabled") is True:
        end = case.get("autotuning.end_profile_step") if case.has("autotuning.end_profile_step") else 5
        when = f"after step {end + 1}" if whole(end) is not None else "after the profiled steps"
        message = f"the engine ends the process {when}, with exit code 0"
        yield case.warning("autotuning.enabled", message, help="switch it off for training")


@config_rule("ZT827", "gds-off-cuda")
def gds_off_cuda(case: ConfigCase) -> Iterator[Diagnostic]:
    """GPUDirect Storage is switched on where there is no GPU.

    Why: DeepSpeed asserts a CUDA device when it parses the section.
    Wrong: `{"aio": {"use_gds": true}}` on CPUs
    Right: `{"aio": {"use_gds": false}}`
    """
    if case.gpu is not None and case.gpu.host and case.get("aio.use_gds") in (True, 1):
        yield case.error("aio.use_gds", "`use_gds` needs a CUDA device", help="remove it")


@config_rule("ZT828", "aio-number")
def aio_number(case: ConfigCase) -> Iterator[Diagnostic]:
    """A number of the asynchronous I/O is no whole number.

    Why: with states on NVMe it is handed to a C++ function that takes integers only, and no framework fills an `auto`.
    Wrong: `{"aio": {"block_size": "1MB"}}`
    Right: `{"aio": {"block_size": 1048576}}`
    """
    on_nvme = case.stage == 3 and "nvme" in (case.device("offload_optimizer"), case.device("offload_param"))
    for name in AIO_NUMBERS if on_nvme else ():
        value = case.get(f"aio.{name}")
        if case.has(f"aio.{name}") and not isinstance(value, int):
            yield case.error(f"aio.{name}", f"`{name}` must be a whole number, and is `{value}`")


@config_rule("ZT829", "weight-quantization-in-training")
def weight_quantization_in_training(case: ConfigCase) -> Iterator[Diagnostic]:
    """Weights are to be quantized by a section that training reads one key of.

    Why: of `weight_quantization` only `quantized_initialization` is read in training, by `zero.Init` at stage 3. The
    rest belongs to inference.
    Wrong: `{"weight_quantization": {"enabled": true, "num_bits": 8}}`
    Right: `{"weight_quantization": {"quantized_initialization": {"num_bits": 8, "group_size": 64}}}` at stage 3
    """
    section = case.mapping("weight_quantization")
    if section and not (section.get("quantized_initialization") and case.stage == 3):
        message = "training reads only `quantized_initialization`, and only at stage 3"
        yield case.ignored_key("weight_quantization", message, help="remove it")


@config_rule("ZT830", "hybrid-engine-graphs")
def hybrid_engine_graphs(case: ConfigCase) -> Iterator[Diagnostic]:
    """CUDA graphs are asked of the hybrid engine together with something that excludes them.

    Why: a graph replays the buffers it was captured with. At stage 3, with a released cache or with tensor parallelism
    these change, so that the engine generates without graphs.
    Wrong: `{"hybrid_engine": {"enabled": true, "enable_cuda_graph": true}, "zero_optimization": {"stage": 3}}`
    Right: the same at stage 2
    """
    section = case.mapping("hybrid_engine")
    is_asked = section.get("enabled") is True and section.get("enable_cuda_graph") is True
    if not is_asked or not is_read(case, "hybrid_engine.enable_cuda_graph"):
        return
    against = "stage 3" if case.stage == 3 else None
    against = "`release_inference_cache`" if section.get("release_inference_cache") is True else against
    against = "`inference_tp_size` above 1" if (whole(section.get("inference_tp_size")) or 1) > 1 else against
    if against:
        message = f"with {against} the hybrid engine runs without CUDA graphs"
        yield case.warning("hybrid_engine.enable_cuda_graph", message, help="remove one of the two")


@config_rule("ZT822", "hybrid-engine-on-a-processor")
def hybrid_engine_on_a_processor(case: ConfigCase) -> Iterator[Diagnostic]:
    """The hybrid engine is asked of ranks without accelerators.

    Why: `deepspeed.initialize` loads its inference kernels, which exist for accelerators only, and stops.
    Wrong: `{"hybrid_engine": {"enabled": true}}` on a CPU
    Right: no `hybrid_engine`
    """
    if case.gpu is not None and case.gpu.host and case.on("hybrid_engine.enabled"):
        yield case.error("hybrid_engine.enabled", "the hybrid engine has no kernels for a CPU", help="remove it")


RULES: tuple[Rule, ...] = (
    idle_activation_checkpointing,
    contiguous_checkpoints_alone,
    monitor_package,
    breakdown_on,
    profile_step_never_comes,
    profile_step_is_no_number,
    autotuning_ends_the_run,
    gds_off_cuda,
    aio_number,
    weight_quantization_in_training,
    hybrid_engine_graphs,
    hybrid_engine_on_a_processor,
)
