"""DeepSpeed configs: parallel axes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from zerotrain.check.config.case import ConfigCase, whole
from zerotrain.check.config.rules.axes import divisors, is_read, sequence_ranks, tensor_ranks
from zerotrain.check.rule import Rule, config_rule
from zerotrain.diagnostic import Diagnostic

TENSOR_PRESETS = ("llama", "bloom", "chatglm", "mixtral", "deepseek_v2", "qwen2", "phi3")
"""What `tensor_parallel.preset_model` knows; module_inject/autotp_config.py."""


@config_rule("ZT420", "tensor-ranks-do-not-divide")
def tensor_ranks_do_not_divide(case: ConfigCase) -> Iterator[Diagnostic]:
    """The ranks cannot be split into tensor-parallel groups of one size.

    Why: the mesh of data-parallel and tensor-parallel ranks is built from the world size; a rank that is left over
    fails with an assertion that has no text.
    Wrong: `{"tensor_parallel": {"autotp_size": 3}}` on 8 ranks
    Right: `{"tensor_parallel": {"autotp_size": 4}}` on 8 ranks
    """
    size, world = tensor_ranks(case), case.world_size
    if world and world % size:
        message = f"`autotp_size` of {size} does not divide the {world} ranks"
        yield case.error("tensor_parallel.autotp_size", message, help=f"choose one of {divisors(world)}")


@config_rule("ZT426", "sequence-ranks-are-no-number")
def sequence_ranks_are_no_number(case: ConfigCase) -> Iterator[Diagnostic]:
    """The ranks of a sequence, or of a mesh with them, are not a positive number.

    Why: while it reads the config DeepSpeed divides the world size by `sequence_parallel_size`; with
    `data_parallel_size` beside it, it builds a mesh of both.
    Wrong: `{"sequence_parallel_size": 0}`
    Right: `{"sequence_parallel_size": 1}`
    """
    if not case.has("sequence_parallel_size"):
        return
    for key in ("sequence_parallel_size", "data_parallel_size"):
        size = case.get(key)
        if case.has(key) and not (isinstance(size, int | float) and size > 0):
            message = f"DeepSpeed divides the ranks by `{key}`, which is {json.dumps(size)[:40]}"
            yield case.error(key, message, help="write a positive whole number, or remove it")


@config_rule("ZT421", "tensor-parallel-size-is-no-size")
def tensor_parallel_size_is_no_size(case: ConfigCase) -> Iterator[Diagnostic]:
    """The number of tensor-parallel ranks is written as text.

    Why: `deepspeed.initialize` compares it with 0 before anything converts it, and stops with a `TypeError`; no
    framework fills an `auto` here.
    Wrong: `{"tensor_parallel": {"autotp_size": "auto"}}`
    Right: `{"tensor_parallel": {"autotp_size": 2}}`
    """
    size = case.get("tensor_parallel.autotp_size")
    if isinstance(size, str) and size and is_read(case, "tensor_parallel.preset_model"):
        message = f'`deepspeed.initialize` compares `autotp_size` with a number, and "{size}" is text'
        yield case.error(
            "tensor_parallel.autotp_size", message, help="write a whole number; 0 for no tensor parallelism"
        )


@config_rule("ZT422", "negative-tensor-parallel-size")
def negative_tensor_parallel_size(case: ConfigCase) -> Iterator[Diagnostic]:
    """The number of tensor-parallel ranks is negative.

    Why: DeepSpeed takes every number below 2 for "off" and does not complain.
    Wrong: `{"tensor_parallel": {"autotp_size": -1}}`
    Right: `{"tensor_parallel": {"autotp_size": 2}}`
    """
    size = whole(case.get("tensor_parallel.autotp_size"))
    if size is not None and size < 0:
        message = f"`autotp_size` of {size} switches tensor parallelism off"
        yield case.warning("tensor_parallel.autotp_size", message, help="write the number of ranks, or 0 for off")


@config_rule("ZT423", "conflicting-tensor-parallel-sizes")
def conflicting_tensor_parallel_sizes(case: ConfigCase) -> Iterator[Diagnostic]:
    """The two tensor-parallel sizes differ.

    Why: `autotp_size` is the one that counts; DeepSpeed refuses a `tp.tp_size` that is neither 1 nor the same.
    Wrong: `{"tensor_parallel": {"autotp_size": 2, "tp": {"tp_size": 4}}}`
    Right: `{"tensor_parallel": {"autotp_size": 2}}`
    """
    key = case.spelled("tensor_parallel.tp.tp_size")
    size, other, name = tensor_ranks(case), whole(case.get(key)), key.removeprefix("tensor_parallel.")
    is_compared = is_read(case, "tensor_parallel.preset_model")  # since the size is taken from the config
    if is_compared and size > 1 and other is not None and other not in (1, size):
        message = f"`{name}` is {other}, and `autotp_size` is {size}"
        yield case.error(key, message, help=f"leave `{name}` out")


@config_rule("ZT424", "idle-tensor-parallel")
def idle_tensor_parallel(case: ConfigCase) -> Iterator[Diagnostic]:
    """Tensor parallelism is described, but not switched on.

    Why: only `autotp_size` above 1 switches it on. `tp.tp_size` and the partitioning are not looked at without it, so
    that every rank holds the whole model. A script that calls `deepspeed.tp_model_init` sets the size itself.
    Wrong: `{"tensor_parallel": {"tp": {"tp_size": 4}}}`
    Right: `{"tensor_parallel": {"autotp_size": 4}}`
    """
    section = case.mapping("tensor_parallel")
    described = [
        name
        for name in ("preset_model", "partition_config")
        if section.get(name) and is_read(case, f"tensor_parallel.{name}")
    ]
    nested = case.spelled("tensor_parallel.tp.tp_size")
    if (whole(case.get(nested)) or 1) > 1:
        described = [nested.removeprefix("tensor_parallel."), *described]
    unsaid = "autotp_size" not in section
    if described and (unsaid or section["autotp_size"] in (0, 1)):
        message = f"`{described[0]}` does nothing without `autotp_size` above 1"
        script = ", unless the script calls `deepspeed.tp_model_init`" if unsaid else ""
        yield case.warning(
            f"tensor_parallel.{described[0]}", message, help=f"set `tensor_parallel.autotp_size`{script}"
        )


@config_rule("ZT425", "unknown-tensor-parallel-preset")
def unknown_tensor_parallel_preset(case: ConfigCase) -> Iterator[Diagnostic]:
    """The layout of tensor parallelism has a name that DeepSpeed does not know.

    Why: an unknown name is not refused. DeepSpeed falls back on the plan of the model's class or on guessing from the
    names of its layers, and layers that are not found stay whole on every rank.
    Wrong: `{"tensor_parallel": {"autotp_size": 2, "preset_model": "llama3"}}`
    Right: `{"tensor_parallel": {"autotp_size": 2, "preset_model": "llama"}}`
    """
    preset = case.get("tensor_parallel.preset_model") if is_read(case, "tensor_parallel.preset_model") else None
    if tensor_ranks(case) > 1 and isinstance(preset, str) and preset and preset.lower() not in TENSOR_PRESETS:
        message = f"`preset_model` `{preset}` is unknown to DeepSpeed and ignored"
        yield case.warning("tensor_parallel.preset_model", message, help=f"one of {', '.join(TENSOR_PRESETS)}, or none")


@config_rule("ZT427", "batch-counts-tensor-ranks")
def batch_counts_tensor_ranks(case: ConfigCase) -> Iterator[Diagnostic]:
    """A global batch size is given together with tensor parallelism.

    Why: the ranks of a tensor-parallel group work on the same samples, but the batch arithmetic of the config counts
    each of them. `train_batch_size` is then `autotp_size` times the samples that a step really sees; the true number
    is refused or gives fewer accumulation steps.
    Wrong: `{"tensor_parallel": {"autotp_size": 2}, "train_batch_size": 32, "train_micro_batch_size_per_gpu": 4}`
    Right: `{"tensor_parallel": {"autotp_size": 2}, "train_micro_batch_size_per_gpu": 4,
    "gradient_accumulation_steps": 2}`
    """
    size, batch = tensor_ranks(case), whole(case.get("train_batch_size"))
    if case.reader == "raw" and size > 1 and batch is not None and not case.is_compiled:
        message = f"`train_batch_size` of {batch} counts every sample {size} times, once per tensor-parallel rank"
        help = "give `train_micro_batch_size_per_gpu` and `gradient_accumulation_steps` only"
        yield case.warning("train_batch_size", message, help=help)


@config_rule("ZT428", "full-batch-triple-with-tensor-stage-3")
def full_batch_triple_with_tensor_stage_3(case: ConfigCase) -> Iterator[Diagnostic]:
    """All three batch sizes are given with tensor parallelism at stage 3.

    Why: DeepSpeed reads the config twice there, once counting all ranks and once counting data-parallel ranks only,
    and each time the three numbers must agree; none do, unless the script brings an `mpu` of its own.
    Wrong: `{"zero_optimization": {"stage": 3}, "tensor_parallel": {"autotp_size": 2}, "train_batch_size": 4,
    "train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": 2}`
    Right: the same without `train_batch_size`
    """
    triple = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
    if not is_read(case, "expert_parallel"):  # before 0.19 stage 3 had no tensor parallelism
        return
    if case.stage == 3 and tensor_ranks(case) > 1 and all(whole(case.get(key)) is not None for key in triple):
        message = "with tensor parallelism at stage 3, no full batch triple passes both readings of the config"
        yield case.warning("train_batch_size", message, help="remove `train_batch_size`")


@config_rule("ZT429", "sequence-parallel-size-alone")
def sequence_parallel_size_alone(case: ConfigCase) -> Iterator[Diagnostic]:
    """A sequence-parallel size stands alone.

    Why: by itself it creates no groups: every rank still computes whole sequences. It only makes the batch arithmetic
    divide the ranks by it. Sequences are split by the `mpu` of `UlyssesSPAttentionHF.register_with_transformers`, or by
    a mesh, for which DeepSpeed wants `data_parallel_size` too.
    Wrong: `{"sequence_parallel_size": 2}`
    Right: `{"sequence_parallel_size": 2, "data_parallel_size": 4}`
    """
    size = whole(case.get("sequence_parallel_size"))
    if case.reader == "raw" and size is not None and size > 1 and not case.has("data_parallel_size"):
        message = f"`sequence_parallel_size` of {size} alone splits nothing but the ranks in the batch size"
        yield case.warning("sequence_parallel_size", message, help="add `data_parallel_size`, or hand over an `mpu`")


@config_rule("ZT430", "mesh-is-not-the-world")
def mesh_is_not_the_world(case: ConfigCase) -> Iterator[Diagnostic]:
    """The mesh of data-parallel and sequence-parallel ranks does not hold every rank.

    Why: given both sizes, DeepSpeed builds a mesh of exactly that many ranks; a bigger one is refused, and a rank
    outside a smaller one fails when it asks for its group.
    Wrong: `{"data_parallel_size": 2, "sequence_parallel_size": 2}` on 8 ranks
    Right: `{"data_parallel_size": 4, "sequence_parallel_size": 2}` on 8 ranks
    """
    data, sequence = whole(case.get("data_parallel_size")), whole(case.get("sequence_parallel_size"))
    if case.world_size and data and sequence and data * sequence != case.world_size:
        message = f"a mesh of {data} x {sequence} ranks is not the {case.world_size} ranks there are"
        yield case.error("data_parallel_size", message, help="make the product the number of ranks")


@config_rule("ZT431", "overridden-communication-type")
def overridden_communication_type(case: ConfigCase) -> Iterator[Diagnostic]:
    """The format of gradient communication is given, but sequence parallelism sets another.

    Why: with a sequence-parallel mesh DeepSpeed overwrites `communication_data_type` with
    `seq_parallel_communication_data_type`, which is fp32 unless written.
    Wrong: `{"data_parallel_size": 2, "sequence_parallel_size": 2, "communication_data_type": "bf16"}`
    Right: `{"data_parallel_size": 2, "sequence_parallel_size": 2, "seq_parallel_communication_data_type": "bf16"}`
    """
    written = case.get("communication_data_type")
    used = case.get("seq_parallel_communication_data_type") or "fp32"
    if sequence_ranks(case) > 1 and isinstance(written, str) and isinstance(used, str) and written != used:
        message = f"with sequence parallelism gradients travel in `{used}`, not `{written}`"
        yield case.warning("communication_data_type", message, help="set `seq_parallel_communication_data_type`")


@config_rule("ZT433", "pipeline-switch-kind")
def pipeline_switch_kind(case: ConfigCase) -> Iterator[Diagnostic]:
    """A switch of the pipeline is neither true nor false.

    Why: the pipeline engine asserts that both are booleans, without a text.
    Wrong: `{"pipeline": {"pipe_partitioned": "auto"}}`
    Right: `{"pipeline": {"pipe_partitioned": true}}`
    """
    section = case.mapping("pipeline")
    for name in ("pipe_partitioned", "grad_partitioned"):
        if name in section and not isinstance(section[name], bool):
            message = f"the pipeline engine wants `{name}` to be true or false"
            yield case.error(f"pipeline.{name}", message, help="write `true` or `false`")


@config_rule("ZT434", "pipeline-above-stage-1")
def pipeline_above_stage_1(case: ConfigCase) -> Iterator[Diagnostic]:
    """A pipeline section stands in a config of stage 2 or 3.

    Why: the pipeline engine works with ZeRO stages 0 and 1 only, and says so after it has built the whole optimizer.
    Wrong: `{"zero_optimization": {"stage": 2}, "pipeline": {"activation_checkpoint_interval": 1}}`
    Right: the same at stage 1
    """
    if case.stage >= 2 and case.mapping("pipeline"):
        message = f"pipeline parallelism is refused at stage {case.stage}"
        yield case.warning("pipeline", message, help="use stage 1, or remove `pipeline` when the model is no pipeline")


@config_rule("ZT435", "partition-type")
def partition_type(case: ConfigCase) -> Iterator[Diagnostic]:
    """A layer is to be partitioned in a way that does not exist.

    Why: DeepSpeed knows `row`, `column` and `skip`, and stops at any other word when it partitions the model.
    Wrong: `{"tensor_parallel": {"autotp_size": 2, "partition_config": {"layer_specs": [{"partition_type": "col"}]}}}`
    Right: `"partition_type": "column"`
    """
    specs = case.get("tensor_parallel.partition_config.layer_specs")
    is_used = tensor_ranks(case) > 1 and is_read(case, "tensor_parallel.partition_config")
    for index, spec in enumerate(specs if is_used and isinstance(specs, list) else ()):
        kind = spec.get("partition_type", "column") if isinstance(spec, Mapping) else "column"
        if isinstance(kind, str) and kind.lower() not in ("row", "column", "skip"):
            key = f"tensor_parallel.partition_config.layer_specs[{index}].partition_type"
            yield case.error(key, f"`partition_type` cannot be `{kind}`", help="one of `row`, `column`, `skip`")


@config_rule("ZT447", "tensor-parallel-at-stage-3")
def tensor_parallel_at_stage_3(case: ConfigCase) -> Iterator[Diagnostic]:
    """Tensor parallelism is used at stage 3 in a version that refuses it.

    Why: before 0.19 the engine asserts stage 2 or lower when it splits layers.
    Wrong: `{"tensor_parallel": {"autotp_size": 2}, "zero_optimization": {"stage": 3}}` with DeepSpeed 0.18.9
    Right: the same at stage 2
    """
    if case.stage == 3 and tensor_ranks(case) > 1 and not is_read(case, "expert_parallel"):
        message = f"DeepSpeed {case.schema.version} refuses tensor parallelism at stage 3"
        yield case.error("tensor_parallel.autotp_size", message, help="use stage 2, or update")


RULES: tuple[Rule, ...] = (
    tensor_ranks_do_not_divide,
    tensor_parallel_size_is_no_size,
    sequence_ranks_are_no_number,
    negative_tensor_parallel_size,
    conflicting_tensor_parallel_sizes,
    idle_tensor_parallel,
    unknown_tensor_parallel_preset,
    batch_counts_tensor_ranks,
    full_batch_triple_with_tensor_stage_3,
    sequence_parallel_size_alone,
    mesh_is_not_the_world,
    overridden_communication_type,
    pipeline_switch_kind,
    pipeline_above_stage_1,
    partition_type,
    tensor_parallel_at_stage_3,
)
