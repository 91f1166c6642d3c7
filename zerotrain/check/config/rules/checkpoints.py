"""DeepSpeed configs: how checkpoints are written and read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from zerotrain.check.config.case import ConfigCase
from zerotrain.check.config.rules.axes import is_read, tensor_ranks
from zerotrain.check.rule import Rule, config_rule
from zerotrain.diagnostic import Diagnostic


def _writer_type(case: ConfigCase) -> str | None:
    """Returns the checkpoint writer in lower case, or None without one."""
    section = case.get("checkpoint.writer")
    kind = section.get("type", "fast") if isinstance(section, Mapping) else None
    return kind.lower() if isinstance(kind, str) else None


@config_rule("ZT722", "mock-checkpoint-writer")
def mock_checkpoint_writer(case: ConfigCase) -> Iterator[Diagnostic]:
    """Checkpoints are written by the mock writer.

    Why: it writes empty files and a valid `latest`, and reports success: nothing of the run can be restored.
    Wrong: `{"checkpoint": {"writer": {"type": "mock"}}}`
    Right: `{"checkpoint": {"writer": {"type": "python", "data_parallel": "replica"}}}`
    """
    if _writer_type(case) == "mock":
        message = "the `mock` writer saves empty files; the run cannot be resumed"
        yield case.warning("checkpoint.writer.type", message, help="use `python` or `fast`, or no `writer`")


@config_rule("ZT723", "checkpoint-writer-without-unit")
def checkpoint_writer_without_unit(case: ConfigCase) -> Iterator[Diagnostic]:
    """A checkpoint writer below stage 3 does not say how the ranks share the work.

    Why: DeepSpeed then looks for the rank under a name that does not exist, and `deepspeed.initialize` ends with an
    `AttributeError`. Only a model with experts, or a script with an `mpu` of its own, takes another way.
    Wrong: `{"zero_optimization": {"stage": 2}, "checkpoint": {"writer": {"type": "python"}}}`
    Right: `{"zero_optimization": {"stage": 2}, "checkpoint": {"writer": {"type": "python", "data_parallel":
    "replica"}}}`
    """
    is_plain = tensor_ranks(case) == 1 and case.get("expert_parallel.enabled") is not True
    written = isinstance(case.get("checkpoint.writer"), Mapping)
    if written and is_plain and case.stage < 3 and case.get("checkpoint.writer.data_parallel") is None:
        message = f"a checkpoint writer at stage {case.stage} needs `data_parallel`"
        yield case.error("checkpoint.writer", message, help="add `data_parallel: replica`")


@config_rule("ZT724", "fast-writer-without-gpu")
def fast_writer_without_gpu(case: ConfigCase) -> Iterator[Diagnostic]:
    """The fast checkpoint writer, which is the default one, is used without a GPU.

    Why: it pins its buffer for a GPU, and fails when the engine is built on CPUs.
    Wrong: `{"checkpoint": {"writer": {"type": "fast"}}}` on CPUs
    Right: `{"checkpoint": {"writer": {"type": "python", "data_parallel": "replica"}}}`
    """
    if case.gpu is not None and case.gpu.host and _writer_type(case) == "fast":
        key = "checkpoint.writer.type" if case.has("checkpoint.writer.type") else "checkpoint.writer"
        yield case.error(key, "the `fast` writer needs a GPU", help="use `type: python`")


@config_rule("ZT726", "universal-checkpoints-only")
def universal_checkpoints_only(case: ConfigCase) -> Iterator[Diagnostic]:
    """Checkpoints are to be loaded in the universal format.

    Why: every load then reads the tag in `latest_universal`, which only the converter writes. A checkpoint of the run
    itself cannot be loaded until `ds_to_universal` has converted it.
    Wrong: `{"checkpoint": {"load_universal": true}}` left in a config after the run has moved
    Right: `{"checkpoint": {"load_universal": false}}` for resuming on the same ranks
    """
    if case.get("checkpoint.load_universal") is True and not case.is_compiled:
        message = "with `load_universal` a checkpoint must be converted before it can be loaded"
        help = "convert with `ds_to_universal`, or remove it to resume on the same ranks"
        yield case.info("checkpoint.load_universal", message, help=help)


@config_rule("ZT727", "datastates-switched-on-by-presence")
def datastates_switched_on_by_presence(case: ConfigCase) -> Iterator[Diagnostic]:
    """The DataStates engine is switched off in a way that switches it on.

    Why: the section counts as on unless its whole value is `false`. With `enabled: false` or `null` DeepSpeed still
    loads the engine, and stops where its package is missing.
    Wrong: `{"datastates_ckpt": {"enabled": false}}`
    Right: no `datastates_ckpt` at all
    """
    value = case.get("datastates_ckpt")
    is_meant_off = value is None or (isinstance(value, Mapping) and value.get("enabled") is False)
    if case.has("datastates_ckpt") and is_meant_off and is_read(case, "datastates_ckpt"):
        message = "`datastates_ckpt` is on because it is there; nothing inside switches it off"
        yield case.ignored_key("datastates_ckpt", message, help="remove it")


@config_rule("ZT725", "tensor-shards-on-the-node")
def tensor_shards_on_the_node(case: ConfigCase) -> Iterator[Diagnostic]:
    """Only one tensor-parallel shard of each node is saved.

    Why: with `use_node_local_storage` the first rank of a node writes and the others do not (runtime/engine.py), their
    shards of the layers included. The load then counts too few files.
    Wrong: `{"tensor_parallel": {"autotp_size": 2}, "checkpoint": {"use_node_local_storage": true}}`
    Right: `{"tensor_parallel": {"autotp_size": 2}}`, and checkpoints on storage that all nodes share
    """
    key = "checkpoint.use_node_local_storage"
    if case.get(key) is True and tensor_ranks(case) > 1 and is_read(case, "tensor_parallel.preset_model"):
        message = f"with `autotp_size` {tensor_ranks(case)} one shard of each node is saved, and the others are lost"
        yield case.error(key, message, help="remove it, and save to storage that all nodes share")


@config_rule("ZT728", "pipelined-loading-below-stage-3")
def pipelined_loading_below_stage_3(case: ConfigCase) -> Iterator[Diagnostic]:
    """Checkpoints cannot be loaded again.

    Why: `pipeline_loading_checkpoint` is for stage 3; at stages 1 and 2 every load stops with an assertion.
    Wrong: `{"zero_optimization": {"stage": 2, "pipeline_loading_checkpoint": true}}`
    Right: `{"zero_optimization": {"stage": 2}}`
    """
    key = "zero_optimization.pipeline_loading_checkpoint"
    if case.stage in (1, 2) and case.on(key) and is_read(case, key):
        message = f"at stage {case.stage} a checkpoint cannot be loaded with `pipeline_loading_checkpoint`"
        yield case.error(key, message, help="remove it")


RULES: tuple[Rule, ...] = (
    mock_checkpoint_writer,
    checkpoint_writer_without_unit,
    fast_writer_without_gpu,
    universal_checkpoints_only,
    datastates_switched_on_by_presence,
    tensor_shards_on_the_node,
    pipelined_loading_below_stage_3,
)
