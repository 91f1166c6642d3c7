"""DeepSpeed configs: known bugs of DeepSpeed, by version.

Each rule names the versions it is about and, where there is one, the thread upstream. It goes when no snapshot of those
versions is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from zerotrain.check.config.case import AUTO, ConfigCase
from zerotrain.check.config.rules.axes import is_read, tensor_ranks
from zerotrain.check.rule import Rule, config_rule
from zerotrain.diagnostic import Diagnostic


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _is_between(case: ConfigCase, first: str, fixed: str | None = None) -> bool:
    """Tells whether the version is at least one and, where a fix is known, before another."""
    version = _numbers(case.schema.version)
    return _numbers(first) <= version and (fixed is None or version < _numbers(fixed))


def _accumulates(case: ConfigCase) -> bool:
    return (case.number("gradient_accumulation_steps") or 1) > 1


@config_rule("ZT940", "gradients-of-zero-2")
def gradients_of_zero_2(case: ConfigCase) -> Iterator[Diagnostic]:
    """Stage 2 accumulates gradients in a version that loses some of them.

    Why: from 0.17.6 until 0.18.3 stage 2 computes gradients that are too small over several micro-batches, with losses
    that look right at first. deepspeedai/DeepSpeed#7718.
    Wrong: `{"zero_optimization": {"stage": 2}, "gradient_accumulation_steps": 8}` with DeepSpeed 0.18.0
    Right: the same with DeepSpeed 0.18.3 or later, or at stage 1
    """
    if case.stage == 2 and _accumulates(case) and _is_between(case, "0.17.6", "0.18.3"):
        message = f"DeepSpeed {case.schema.version} gets accumulated gradients of stage 2 wrong"
        help = "update to 0.18.3 or later, or use stage 1 or 3 (deepspeedai/DeepSpeed#7718)"
        yield case.warning("zero_optimization.stage", message, help=help)


@config_rule("ZT941", "racing-communication")
def racing_communication(case: ConfigCase) -> Iterator[Diagnostic]:
    """Communication overlaps the backward pass at stage 1 or 2, in a version that gets it wrong.

    Why: memory is used again before the reduction that reads it has ended, and a reduction does not wait for all that
    fill its bucket: losses of 0 and NaN, which go away without the overlap. Reported from 0.12.4 on; 0.19.8 waits for
    both. deepspeedai/DeepSpeed#5242, #5545, #7965, #8061.
    Wrong: `{"zero_optimization": {"stage": 2, "overlap_comm": true}}` with DeepSpeed 0.18.9
    Right: the same with DeepSpeed 0.19.8, or with `"overlap_comm": false`
    """
    if case.stage in (1, 2) and case.on("zero_optimization.overlap_comm") and _is_between(case, "0.12.4", "0.19.8"):
        message = f"`overlap_comm` of DeepSpeed {case.schema.version} can corrupt gradients at stages 1 and 2"
        help = "set it to false, or update to 0.19.8 (deepspeedai/DeepSpeed#7965, #8061)"
        yield case.warning("zero_optimization.overlap_comm", message, help=help)


@config_rule("ZT942", "writer-cannot-read-back")
def writer_cannot_read_back(case: ConfigCase) -> Iterator[Diagnostic]:
    """ZeRO checkpoints are saved by a writer whose engine cannot load them.

    Why: with a `writer` DeepSpeed loads with the defaults of `torch.load`, which from torch 2.6 on refuse DeepSpeed's
    own classes: saving works, and resuming from stage 1 or higher ends with an `UnpicklingError`. So from 0.17.6 to
    0.19.8. deepspeedai/DeepSpeed#8500.
    Wrong: `{"zero_optimization": {"stage": 2}, "checkpoint": {"writer": {"type": "python", "data_parallel":
    "replica"}}}` with torch 2.6 or later
    Right: no `writer`
    """
    if isinstance(case.get("checkpoint.writer"), Mapping) and case.stage >= 1:
        message = "with torch 2.6 or later a checkpoint of this writer is saved but cannot be loaded"
        help = "remove `writer`, or load with `TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1` (deepspeedai/DeepSpeed#8500)"
        yield case.warning("checkpoint.writer", message, help=help)


@config_rule("ZT943", "profile-counts-twice")
def profile_counts_twice(case: ConfigCase) -> Iterator[Diagnostic]:
    """The profiler counts operations at stage 3.

    Why: it reports twice the operations there are, and no usable time of the model as a whole. Seen with 0.19.8.
    Wrong: `{"flops_profiler": {"enabled": true}, "zero_optimization": {"stage": 3}}`
    Right: profile at stage 2, or halve the number
    """
    if case.stage == 3 and case.get("flops_profiler.enabled") is True and _is_between(case, "0.19.8"):
        message = "at stage 3 the profiler reports twice the operations there are"
        yield case.warning("flops_profiler.enabled", message, help="profile at stage 2, or halve the number")


@config_rule("ZT944", "latency-is-maximized")
def latency_is_maximized(case: ConfigCase) -> Iterator[Diagnostic]:
    """The autotuner is to tune for latency.

    Why: it takes the experiment with the largest value of the metric, whatever the metric is, and so picks the slowest
    one. Seen in 0.19.8 and before (`autotuning/scheduler.py`).
    Wrong: `{"autotuning": {"enabled": true, "metric": "latency"}}`
    Right: `{"autotuning": {"enabled": true, "metric": "throughput"}}`
    """
    if case.get("autotuning.enabled") is True and case.get("autotuning.metric") == "latency":
        message = "the autotuner takes the largest latency for the best"
        yield case.warning("autotuning.metric", message, help="tune for `throughput`")


@config_rule("ZT945", "hpz-with-offload")
def hpz_with_offload(case: ConfigCase) -> Iterator[Diagnostic]:
    """A secondary partition is combined with offload.

    Why: users saw a loss that never changes with both; the combination is not tested upstream, and the thread is
    open. deepspeedai/DeepSpeed#6926, #6889.
    Wrong: `{"zero_optimization": {"stage": 3, "zero_hpz_partition_size": 8, "offload_optimizer": {"device": "cpu"}}}`
    Right: the same without `zero_hpz_partition_size`, or without offload
    """
    offloads = case.device("offload_optimizer") or case.device("offload_param")
    if case.stage == 3 and offloads and (case.number("zero_optimization.zero_hpz_partition_size") or 1) > 1:
        message = "`zero_hpz_partition_size` with offload is untested upstream; constant losses were reported"
        help = "leave one of the two out (deepspeedai/DeepSpeed#6926)"
        yield case.warning("zero_optimization.zero_hpz_partition_size", message, help=help)


@config_rule("ZT946", "deepcompile-at-stage-3")
def deepcompile_at_stage_3(case: ConfigCase) -> Iterator[Diagnostic]:
    """DeepCompile is used at stage 3, which depends on the version of torch.

    Why: it reaches into the compiler of torch; from torch 2.9 on stage 3 was reported not to work, and the thread was
    open when this was written. deepspeedai/DeepSpeed#7755.
    Wrong: `{"compile": {"deepcompile": true}, "zero_optimization": {"stage": 3}}` with torch 2.9
    Right: the same with torch 2.8
    """
    if case.on("compile.deepcompile") and case.stage == 3:
        message = "DeepCompile at stage 3 was reported to fail with torch 2.9"
        help = "try it on a small model first, or use torch 2.8 (deepspeedai/DeepSpeed#7755)"
        yield case.info("compile.deepcompile", message, help=help)


@config_rule("ZT947", "experts-and-transformers")
def experts_and_transformers(case: ConfigCase) -> Iterator[Diagnostic]:
    """Experts are parallel for a model that a version of transformers does not let DeepSpeed replace.

    Why: for most presets DeepSpeed moves the recorder of the router logits, whose method has another signature in
    transformers 5.23: `deepspeed.initialize` ends with a `TypeError` about `_CanRecordRegistry.get`. Seen with 0.19.8;
    transformers 5.17 works.
    Wrong: `{"expert_parallel": {"enabled": true, "autoep_size": 2, "preset_model": "mixtral"}}` with transformers 5.23
    Right: the same with transformers 5.17
    """
    preset = case.get("expert_parallel.preset_model")
    is_on = is_read(case, "expert_parallel") and case.get("expert_parallel.enabled") is True
    if is_on and preset in ("mixtral", "qwen3_moe", "qwen3_5_moe", "minimax_m3"):
        message = f"the preset `{preset}` fails with transformers 5.23"
        yield case.info("expert_parallel.preset_model", message, help="install transformers 5.17, which works")


@config_rule("ZT948", "overflow-check-moved")
def overflow_check_moved(case: ConfigCase) -> Iterator[Diagnostic]:
    """Whether a step with infinite gradients is skipped depends on the version.

    Why: `bf16.check_grad_overflow` is false by default before 0.19.3 and true since: the older versions apply an update
    with NaN in it, the newer ones skip it. Only a written value means the same everywhere.
    Wrong: `{"bf16": {"enabled": true}}` with DeepSpeed 0.18.9
    Right: `{"bf16": {"enabled": true, "check_grad_overflow": true}}`
    """
    written = case.has("bf16.check_grad_overflow") or case.has("bfloat16.check_grad_overflow")
    if case.precision == "bf16" and not written and not _is_between(case, "0.19.3"):
        key = "bf16" if case.has("bf16") else "bfloat16"
        message = f"DeepSpeed {case.schema.version} does not look for infinite gradients; since 0.19.3 it does"
        yield case.info(key, message, help="write `check_grad_overflow`")


@config_rule("ZT949", "clipping-default-moved")
def clipping_default_moved(case: ConfigCase) -> Iterator[Diagnostic]:
    """Whether gradients are clipped depends on the version.

    Why: a config without `gradient_clipping` is not clipped before 0.19.3, and clipped to a norm of 1 since. An update
    of DeepSpeed changes the training.
    Wrong: `{"train_batch_size": 32}` with DeepSpeed 0.18.9
    Right: `{"train_batch_size": 32, "gradient_clipping": 1.0}`
    """
    if not case.has("gradient_clipping") and not _is_between(case, "0.19.3"):
        message = f"DeepSpeed {case.schema.version} does not clip gradients unless told to; since 0.19.3 it does"
        yield case.info("gradient_clipping", message, help="write it; 0 means off")


@config_rule("ZT950", "tensor-parallel-needs-the-script")
def tensor_parallel_needs_the_script(case: ConfigCase) -> Iterator[Diagnostic]:
    """Tensor parallelism is asked of a version that does not start it from the config.

    Why: before 0.18 the layers are split only when the script calls `deepspeed.tp_model_init`; the size in the config
    alone makes groups of ranks that each hold the whole model.
    Wrong: `{"tensor_parallel": {"autotp_size": 2}}` and no call, with DeepSpeed 0.17.6
    Right: `deepspeed.tp_model_init(model, tp_size=2, dtype=torch.bfloat16)` before `deepspeed.initialize`
    """
    if tensor_ranks(case) > 1 and not is_read(case, "tensor_parallel.preset_model") and case.reader == "raw":
        message = f"DeepSpeed {case.schema.version} splits no layers by `autotp_size` alone"
        help = "call `deepspeed.tp_model_init` in the script"
        yield case.warning("tensor_parallel.autotp_size", message, help=help)


@config_rule("ZT951", "adagrad-cannot-save")
def adagrad_cannot_save(case: ConfigCase) -> Iterator[Diagnostic]:
    """No checkpoint of this optimizer can be saved.

    Why: torch's Adagrad makes its states when it is built; at stage 0 DeepSpeed's 16-bit wrapper then gives it other
    parameters (runtime/fp16/unfused_optimizer.py), and saving stops with a `KeyError` over the old ones.
    Wrong: `{"bf16": {"enabled": true}, "optimizer": {"type": "Adagrad"}}`
    Right: `{"bf16": {"enabled": true}, "optimizer": {"type": "Adagrad"}, "zero_optimization": {"stage": 1}}`
    """
    in_16_bit, is_offloaded = case.precision in ("bf16", "fp16"), case.device("offload_optimizer") is not None
    is_settled = case.get("zero_optimization.stage") != AUTO and not case.is_compiled
    if case.optimizer == "adagrad" and in_16_bit and case.stage == 0 and is_settled and not is_offloaded:
        message = f"in {case.precision} at stage 0 no checkpoint of Adagrad can be saved"
        yield case.error("optimizer.type", message, help="use `stage: 1`, or another optimizer")


@config_rule("ZT952", "division-by-no-predivision")
def division_by_no_predivision(case: ConfigCase) -> Iterator[Diagnostic]:
    """Gradients are divided by 0.

    Why: without `prescale_gradients` DeepSpeed divides by `gradient_predivide_factor` (runtime/engine.py).
    Wrong: `{"gradient_predivide_factor": 0}`
    Right: `{"gradient_predivide_factor": 1.0}`
    """
    factor, scattered = case.number("gradient_predivide_factor"), case.on("zero_optimization.reduce_scatter")
    is_read_there = case.stage == 0 or (case.stage in (1, 2) and not scattered)
    if factor == 0 and is_read_there and not case.on("prescale_gradients"):
        yield case.error(
            "gradient_predivide_factor", "gradients are divided by 0", help="remove it; 1.0 is the default"
        )


RULES: tuple[Rule, ...] = (
    gradients_of_zero_2,
    racing_communication,
    writer_cannot_read_back,
    profile_counts_twice,
    latency_is_maximized,
    hpz_with_offload,
    deepcompile_at_stage_3,
    experts_and_transformers,
    overflow_check_moved,
    clipping_default_moved,
    tensor_parallel_needs_the_script,
    adagrad_cannot_save,
    division_by_no_predivision,
)
