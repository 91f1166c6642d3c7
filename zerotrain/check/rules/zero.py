"""ZT3: ZeRO, offload and activation checkpointing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zerotrain.arch.recompute import RECOMPUTED_PARTS
from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, reported_by, rule
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.training import LossScaleSpec


@rule("ZT301", "ignored-offload-param")
def ignored_offload_param(case: Case) -> Iterator[Diagnostic]:
    """Parameters are to be offloaded below stage 3.

    Why: only stage 3 partitions parameters; below it DeepSpeed accepts the section and ignores it, and the memory that
    was to be saved is not.
    Wrong: `zero: {stage: 2, offload_param: {device: cpu}}`
    Right: `zero: {stage: 3, offload_param: {device: cpu}}`
    """
    zero = case.spec.zero
    if zero.offload_param is not None and zero.stage < 3:
        message = f"stage {zero.stage} ignores `offload_param`"
        yield case.warning("zero.offload_param", message, help="use `stage: 3`, or remove it")


@rule("ZT302", "offload-without-zero")
def offload_without_zero(case: Case) -> Iterator[Diagnostic]:
    """Optimizer states are to be offloaded at stage 0.

    Why: DeepSpeed then picks the CPU optimizer for weights on the GPU, and fails at the first step.
    Wrong: `zero: {stage: 0, offload_optimizer: {device: cpu}}`
    Right: `zero: {stage: 1, offload_optimizer: {device: cpu}}`
    """
    if case.spec.zero.offload_optimizer is not None and case.spec.zero.stage == 0:
        message = "`offload_optimizer` needs ZeRO stage 1 or higher"
        yield case.error("zero.offload_optimizer", message, help="use `stage: 1`, or remove it")


@rule("ZT303", "nvme-without-path")
def nvme_without_path(case: Case) -> Iterator[Diagnostic]:
    """States are to live on NVMe, but no directory is given.

    Why: DeepSpeed fails with a `TypeError` when the engine is built.
    Wrong: `offload_param: {device: nvme}`
    Right: `offload_param: {device: nvme, nvme_path: /local_nvme}`
    """
    for name in ("offload_optimizer", "offload_param"):
        offload = getattr(case.spec.zero, name)
        if offload is not None and offload.device == "nvme" and offload.nvme_path is None:
            yield case.error(f"zero.{name}", "`device: nvme` needs a directory", help="add `nvme_path:`")


@rule("ZT304", "nvme-optimizer-below-stage-3")
def nvme_optimizer_below_stage_3(case: Case) -> Iterator[Diagnostic]:
    """Optimizer states are to live on NVMe below stage 3.

    Why: DeepSpeed treats it as `cpu` without a word, so that the states fill the host memory.
    Wrong: `zero: {stage: 2, offload_optimizer: {device: nvme, nvme_path: /local_nvme}}`
    Right: `zero: {stage: 2, offload_optimizer: {device: cpu}}`
    """
    zero = case.spec.zero
    if zero.offload_optimizer is not None and zero.offload_optimizer.device == "nvme" and 0 < zero.stage < 3:
        message = f"stage {zero.stage} keeps the states in host memory, not on NVMe"
        yield case.warning("zero.offload_optimizer.device", message, help="use `device: cpu`")


@rule("ZT305", "partial-offload-below-stage-3")
def partial_offload_below_stage_3(case: Case) -> Iterator[Diagnostic]:
    """A part of the optimizer states is to be offloaded below stage 3.

    Why: DeepSpeed refuses it: `Partial offloading only supported for ZeRO Stage 3`.
    Wrong: `zero: {stage: 2, offload_optimizer: {device: cpu, ratio: 0.5}}`
    Right: the same at stage 3
    """
    zero = case.spec.zero
    if zero.offload_optimizer is not None and zero.offload_optimizer.ratio < 1 and zero.stage != 3:
        message = f"a ratio of {zero.offload_optimizer.ratio:g} needs stage 3"
        yield case.error("zero.offload_optimizer.ratio", message, help="use `stage: 3`, or `ratio: 1.0`")


@rule("ZT313", "unsaved-optimizer-states")
def unsaved_optimizer_states(case: Case) -> Iterator[Diagnostic]:
    """Optimizer states are to live on NVMe, from where no checkpoint of them can be read.

    Why: DeepSpeed copies the files it swaps to, but never reads its own checkpoint again (`load_checkpoint` in
    runtime/engine.py, 0.19.8): states that were in memory are lost, and a resumed run goes on with other weights and
    moments, without a word. An export finds no master weights at all.
    Wrong: `zero: {stage: 3, offload_optimizer: {device: nvme, nvme_path: /local_nvme}}`
    Right: `zero: {stage: 3, offload_optimizer: {device: cpu}, offload_param: {device: nvme, nvme_path: /local_nvme}}`
    """
    zero = case.spec.zero
    if zero.stage == 3 and zero.offload_optimizer is not None and zero.offload_optimizer.device == "nvme":
        message = "optimizer states on NVMe are not in a checkpoint: no run could be resumed or exported"
        yield case.error(
            "zero.offload_optimizer.device", message, help="use `device: cpu`; `offload_param` may be `nvme`"
        )


@rule("ZT316", "updates-outside-checkpoints")
def updates_outside_checkpoints(case: Case) -> Iterator[Diagnostic]:
    """ZenFlow or SuperOffload is asked for among the raw keys.

    Why: ZenFlow updates chosen columns after every micro-batch and the others later, so that no update is one of the
    global batch, and the moments of those columns are in no checkpoint (`ZenFlowSelectiveAdamW` in
    ops/adam/zenflow_torch_adam.py, DeepSpeed 0.19.8). SuperOffload keeps the moments in another process, from where
    none are saved either (runtime/superoffload/). A run could not be resumed exactly, and nothing would say so.
    Wrong: `deepspeed: {zero_optimization: {zenflow: {topk_ratio: 0.1}}}`
    Right: `zero: {stage: 2, offload_optimizer: {device: cpu}}`
    """
    for path, name in {
        ("zero_optimization", "zenflow"): "ZenFlow",
        ("zero_optimization", "offload_optimizer", "super_offload"): "SuperOffload",
    }.items():
        if _raw(case.spec.deepspeed, path):
            message = f"moments of {name} are in no checkpoint: no run could be resumed exactly"
            help = "remove it; `zero.offload_optimizer: {device: cpu}` offloads and is saved"
            yield case.error(".".join(("deepspeed", *path)), message, help=help)


def _raw(section: Any, path: Sequence[str]) -> Any:
    for key in path:
        section = section.get(key) if isinstance(section, Mapping) else None
    return section


@rule("ZT306", "cuda-only-optimizer")
def cuda_only_optimizer(case: Case) -> Iterator[Diagnostic]:
    """The optimizer has no implementation for a CPU.

    Why: `FusedLamb` and `FusedLion` are CUDA kernels; DeepSpeed fails when the engine is built. Lion has a CPU kernel,
    which is used when its states are offloaded.
    Wrong: `optimizer: {type: lamb, lr: 1e-3}` with `hardware: {gpu: cpu}`
    Right: `optimizer: {type: adamw, lr: 1e-3}`
    """
    if case.gpu is None or not case.gpu.host:
        return
    kind = case.spec.optimizer.type
    if kind == "lamb":
        yield case.error("optimizer.type", "`lamb` needs a CUDA GPU", help="use `adamw`")
    elif kind == "lion" and case.spec.zero.offload_optimizer is None:
        message = "on a CPU `lion` needs `zero.offload_optimizer`"
        help = "add `offload_optimizer: {device: cpu}` at stage 1 or higher, or use `adamw`"
        yield case.error("optimizer.type", message, help=help)


@rule("ZT307", "lamb-without-loss-scale")
def lamb_without_loss_scale(case: Case) -> Iterator[Diagnostic]:
    """Lamb is to train with a loss scale that stays the same.

    Why: DeepSpeed asserts a dynamic one for Lamb (runtime/engine.py).
    Wrong: `{optimizer: {type: lamb}, precision: {dtype: fp16, loss_scale: 1024}}`
    Right: `{optimizer: {type: lamb}, precision: fp16}`
    """
    scale = case.spec.precision.loss_scale
    if case.spec.optimizer.type == "lamb" and scale is not None and not isinstance(scale, LossScaleSpec):
        message = f"`lamb` needs a dynamic loss scale, not {scale:g}"
        yield case.error("precision.loss_scale", message, help="remove `loss_scale`, or use `adamw`")


@rule("ZT308", "ignored-checkpointing-option")
def ignored_checkpointing_option(case: Case) -> Iterator[Diagnostic]:
    """An option of activation checkpointing is set for a kind that has none such.

    Why: it would be ignored. Only DeepSpeed's checkpointing partitions activations; inputs are moved to host memory for
    whole layers alone, and on a CPU they are there already.
    Wrong: `activation_checkpointing: {granularity: full, partition_activations: true}`
    Right: `activation_checkpointing: {granularity: full, implementation: deepspeed, partition_activations: true}`
    """
    for option, fact, help in _ignored_options(case):
        yield case.warning(f"activation_checkpointing.{option}", f"`{option}` {fact}", help=help)


def _ignored_options(case: Case) -> Iterator[tuple[str, str, str]]:
    chosen = case.spec.activation_checkpointing
    is_full, is_on = chosen.granularity == "full", chosen.granularity != "none"
    if chosen.partition_activations and not (is_full and chosen.implementation == "deepspeed"):
        fact = "is ignored without `granularity: full` and `implementation: deepspeed`"
        yield "partition_activations", fact, "set both, or remove it"
    if chosen.cpu_checkpointing and not is_full:
        yield "cpu_checkpointing", "is ignored without `granularity: full`", "set it, or remove this"
    elif chosen.cpu_checkpointing and case.gpu is not None and case.gpu.host:
        yield "cpu_checkpointing", "does nothing on a CPU", "remove it"
    if chosen.every > 1 and not is_on:
        yield "every", "is ignored without a `granularity`", "set `granularity: full`, or remove it"
    if "parts" in chosen.model_fields_set and chosen.granularity != "selective":
        yield "parts", "is ignored without `granularity: selective`", "set it, or remove this"


@rule("ZT312", "unavailable-recompute")
def unavailable_recompute(case: Case) -> Iterator[Diagnostic]:
    """Parts of layers are to be computed again that cannot be.

    Why: parts are known by the name that a module has in transformers; DeepSpeed's checkpointing is for whole layers,
    and with expert parallelism DeepSpeed puts its own layers in the place of those with experts.
    Wrong: `activation_checkpointing: {granularity: selective, parts: [mlp]}` with `architecture: bert`
    Right: `activation_checkpointing: full`
    """
    chosen, (architecture, _) = case.spec.activation_checkpointing, case.model
    if chosen.granularity != "selective":
        return
    if chosen.implementation == "deepspeed":
        message = "DeepSpeed's activation checkpointing is for whole layers"
        yield case.error("activation_checkpointing.implementation", message, help="remove it, or use `full`")
    known = RECOMPUTED_PARTS.get(architecture or "", {})
    for part in chosen.parts:
        if architecture in RECOMPUTED_PARTS and part not in known:
            message = f"the `{part}` of a `{architecture}` cannot be computed again by itself"
            yield case.error("activation_checkpointing.parts", message, help="use `full`")
        elif part == "mlp" and case.spec.parallel.ep > 1 and case.spec.moe is None:
            message = f"the `mlp` cannot be computed again by itself with `ep: {case.spec.parallel.ep}`"
            yield case.error("activation_checkpointing.parts", message, help="use `full`, or `parts: [attention]`")


@rule("ZT314", "idle-zeropp-setting")
def idle_zeropp_setting(case: Case) -> Iterator[Diagnostic]:
    """A setting of ZeRO++ has no effect where it stands.

    Why: ZeRO++ changes how stage 3 gathers weights and reduces gradients between machines (Wang et al., arXiv
    2306.10209). Lower stages never look at it, on one machine DeepSpeed reduces as always, and a second copy that is
    divided over all ranks is gathered from all of them, like the first.
    Wrong: `zero: {stage: 2, hpz_partition_size: 8}`
    Right: `zero: {stage: 3, hpz_partition_size: 8}` on several machines with 8 GPUs
    """
    zero, topology = case.spec.zero, case.topology
    for field in ("hpz_partition_size", "quantized_weights", "quantized_gradients"):
        value = getattr(zero, field)
        if zero.stage < 3 and int(value) > int(type(zero).model_fields[field].default):
            yield case.warning(f"zero.{field}", f"stage {zero.stage} ignores `{field}`", help="use `stage: 3`")
    if zero.stage == 3 and zero.hpz_partition_size >= max(topology.world_size, 2):
        message = f"a second copy divided over all {topology.world_size} ranks saves nothing"
        help = "use the number of GPUs of a machine, or remove it"
        yield case.warning("zero.hpz_partition_size", message, help=help)
    if zero.stage == 3 and zero.quantized_gradients and topology.num_nodes == 1:
        message = "`quantized_gradients` does nothing on one machine"
        yield case.warning("zero.quantized_gradients", message, help="remove it")


@rule("ZT315", "cuda-only-quantization")
def cuda_only_quantization(case: Case) -> Iterator[Diagnostic]:
    """Gradients are to be quantized on a CPU.

    Why: the quantizer is a CUDA kernel.
    Wrong: `zero: {stage: 3, quantized_gradients: true}` with `hardware: {gpu: cpu, num_nodes: 2}`
    Right: the same without `quantized_gradients`
    """
    zero = case.spec.zero
    on_several = zero.stage == 3 and case.topology.num_nodes > 1
    if on_several and zero.quantized_gradients and case.gpu is not None and case.gpu.host:
        yield case.error("zero.quantized_gradients", "`quantized_gradients` needs a CUDA GPU", help="remove it")


@reported_by("compiling a spec", "ZT310", "overwritten-key")
def overwritten_key() -> None:
    """The `deepspeed` block names a key that is compiled from a field.

    Why: a value has one home; two homes that differ are how settings come to be ignored.
    Wrong: `{optimizer: {clip_norm: 1.0}, deepspeed: {gradient_clipping: 0.5}}`
    Right: `optimizer: {clip_norm: 0.5}`
    """


RULES: tuple[Rule, ...] = (
    ignored_offload_param,
    offload_without_zero,
    nvme_without_path,
    nvme_optimizer_below_stage_3,
    partial_offload_below_stage_3,
    unsaved_optimizer_states,
    updates_outside_checkpoints,
    cuda_only_optimizer,
    lamb_without_loss_scale,
    ignored_checkpointing_option,
    unavailable_recompute,
    idle_zeropp_setting,
    cuda_only_quantization,
    overwritten_key,
)
