"""A run made small: the same layout, stage, precision and data path, on a few ranks of one machine without a GPU."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from zerotrain.arch.families import FAMILIES
from zerotrain.hardware.topology import Topology
from zerotrain.spec.run import RunSpec
from zerotrain.spec.training import OneCycleSchedule

STEPS = 3
"""Optimizer steps of a rehearsal; the last of them is trained again after a resume."""

_SMALL_SIZES: Mapping[str, int] = {
    **dict.fromkeys(("hidden_size", "n_embd", "moe_intermediate_size", "sliding_window"), 64),
    **dict.fromkeys(("intermediate_size", "n_inner"), 128),
    **dict.fromkeys(("num_attention_heads", "n_head", "num_local_experts", "num_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("head_dim", "q_lora_rank", "kv_lora_rank", "v_head_dim", "embedding_size"), 16),
    **dict.fromkeys(("qk_rope_head_dim", "qk_nope_head_dim"), 8),
    **dict.fromkeys(("num_experts_per_tok", "n_group"), 2),
    **dict.fromkeys(("topk_group", "first_k_dense_replace", "n_shared_experts"), 1),
}
"""What the sizes of a model become where they are larger."""

_MOST_CHOSEN = 3
"""DeepSpeed routes to one expert, to two, and to more than two by different functions."""

_DEPTHS = ("num_hidden_layers", "n_layer")
_VOCABULARY = 512
_DOCUMENTS = 200
_LENGTHS = {"pretrain": 128}
_USUAL_LENGTH = 1024
_NAMES = (
    "model_type",
    "architectures",
    "transformers_version",
    "dtype",
    "torch_dtype",
    "name_or_path",
    "_name_or_path",
)
"""Keys of a `config.json` that say nothing about the model's form."""


@dataclass(frozen=True)
class Change:
    """A key of the spec that has another value in the rehearsal."""

    key: str
    before: Any
    after: Any
    lost: str | None = None
    """What is not rehearsed because of it."""

    @property
    def override(self) -> str:
        """The change as the command line takes it."""
        return f"{self.key}={json.dumps(self.after, default=str)}"


def rehearsal_of(
    spec: RunSpec, topology: Topology, architecture: str | None, config: Mapping[str, Any], most_ranks: int
) -> list[Change]:
    """Returns what makes a run small enough for this machine: sizes, lengths and ranks, never what is done with them.

    `config` are the keys of the model's config, those of its `config.json` among them. A degree of parallelism above 1
    becomes 2 as long as there are enough ranks.
    """
    ranks = _few_ranks(topology, most_ranks)
    wanted = [
        Change("name", spec.name, f"{spec.name}.rehearsal"),
        *_machines(spec, topology, ranks),
        *_model(spec, architecture, config, ranks),
        *_experts(spec, ranks),
        *_data(spec, ranks),
        *_lengths(spec, ranks),
        *_kernels(spec),
    ]
    return [change for change in wanted if change.before != change.after]


def not_rehearsed(changes: list[Change]) -> list[str]:
    """Returns what a rehearsal cannot show, what is always so first."""
    always = ["whether the full size fits into memory, and how fast it is", "the network between machines"]
    return [*always, *(change.lost for change in changes if change.lost is not None)]


def _few_ranks(topology: Topology, most: int) -> Topology:
    degrees: dict[str, int] = {}
    left = most
    for axis in ("pp", "tp", "sp", "dp"):
        degrees[axis] = 2 if getattr(topology, axis) > 1 and left >= 2 else 1
        left //= degrees[axis]
    world = degrees["pp"] * degrees["tp"] * degrees["sp"] * degrees.pop("dp")
    return Topology(
        1, world, **degrees, ep=2 if topology.ep > 1 and world // (degrees["pp"] * degrees["tp"]) > 1 else 1
    )


def _machines(spec: RunSpec, topology: Topology, ranks: Topology) -> Iterator[Change]:
    for axis in ("pp", "tp", "sp", "ep"):
        before, after = getattr(topology, axis), getattr(ranks, axis)
        lost = f"`parallel.{axis}`: there are not enough ranks, `--ranks` allows more" if before > 1 == after else None
        yield Change(f"parallel.{axis}", before, after, lost)
    hardware = {"gpu": "cpu", "num_nodes": 1, "gpus_per_node": ranks.world_size}
    yield Change("hardware", spec.hardware.model_dump(), hardware)
    launch = f"the launcher, `{spec.launch.type}`" if spec.launch.type != "local" else None
    yield Change("launch", spec.launch.model_dump(mode="json", exclude_unset=True), {"type": "local"}, launch)
    yield Change("expect", spec.expect.model_dump(exclude_unset=True), {})
    other = spec.software.deepspeed
    software = f"DeepSpeed {other}: the installed one is used" if other else None
    yield Change("software", spec.software.model_dump(exclude_unset=True), {}, software)


def _model(spec: RunSpec, architecture: str | None, config: Mapping[str, Any], ranks: Topology) -> Iterator[Change]:
    family = FAMILIES.get(architecture or "")
    if family is None:
        return
    written = {key: value for key, value in config.items() if key not in _NAMES}
    if not _keeps_vocabulary(spec):
        written = {
            key: value for key, value in written.items() if key != "vocab_size" and not key.endswith("_token_id")
        }
    known = {name: key.default for name, key in family.declared().items()} | written
    every = spec.moe.every if spec.moe else known.get("decoder_sparse_step") or 1
    yield Change("model.config", spec.model.config, written | _small(known, max(2, ranks.pp, every)))
    if spec.model.pretrained is not None:
        lost = f"the weights of `{spec.model.pretrained}`: the small model begins with random ones"
        yield Change("model.pretrained", spec.model.pretrained, None, lost)
        yield Change("model.revision", spec.model.revision, None)
        yield Change("model.architecture", None, architecture)


def _small(config: Mapping[str, Any], layers: int) -> dict[str, Any]:
    small: dict[str, Any] = {
        key: least for key, least in _SMALL_SIZES.items() if isinstance(config.get(key), int) and config[key] > least
    }
    small |= {key: layers for key in _DEPTHS if isinstance(config.get(key), int) and config[key] > layers}
    small |= _fewer_key_value_heads(config)
    for key, kept in (("layer_types", _kinds), ("mlp_only_layers", _below), ("hidden_sizes", _narrow)):
        if config.get(key):
            small[key] = kept(config[key], layers)
    if config.get("depths"):
        small["depths"] = [1 for _ in config["depths"]]
    if isinstance(config.get("max_window_layers"), int):
        small["max_window_layers"] = min(config["max_window_layers"], layers - 1)
    return small


def _experts(spec: RunSpec, ranks: Topology) -> Iterator[Change]:
    """Yields fewer experts, so many that ranks share them evenly, chosen in the way that is written."""
    if spec.moe is None:
        return
    few, chosen = _SMALL_SIZES["num_experts"], min(spec.moe.top_k, _MOST_CHOSEN)
    is_small = spec.moe.experts <= few and spec.moe.experts % ranks.ep == 0
    yield Change("moe.experts", spec.moe.experts, spec.moe.experts if is_small else few)
    yield Change("moe.top_k", spec.moe.top_k, chosen)


def _fewer_key_value_heads(config: Mapping[str, Any]) -> dict[str, int]:
    """Returns as many key-value heads as the few attention heads allow, in the same proportion if there were fewer."""
    heads, before = config.get("num_attention_heads"), config.get("num_key_value_heads")
    if not isinstance(before, int) or not isinstance(heads, int):
        return {}
    few = min(heads, _SMALL_SIZES["num_attention_heads"])
    return {"num_key_value_heads": few if before == heads else min(before, few, 2)}


def _kinds(kinds: list[str], layers: int) -> list[str]:
    """Returns the kinds of so many layers: each kind that there is, in the order of its first layer, then the first."""
    different = list(dict.fromkeys(kinds))[:layers]
    return different + [kinds[0]] * (layers - len(different))


def _below(numbers: list[int], layers: int) -> list[int]:
    return [number for number in numbers if number < layers - 1]


def _narrow(sizes: list[int], _: int) -> list[int]:
    return [min(size, 32) for size in sizes]


def _keeps_vocabulary(spec: RunSpec) -> bool:
    """Tells whether the vocabulary is given by something that exists: a tokenizer, or a teacher."""
    return spec.data.tokenizer is None or spec.data.tokenizer.type == "pretrained" or spec.task.type == "distill"


def _data(spec: RunSpec, ranks: Topology) -> Iterator[Change]:
    for part in ("train", "validation"):
        sources = getattr(spec.data, part) or []
        for index, source in enumerate(sources):
            few = min(source.max_documents or _DOCUMENTS, _DOCUMENTS)
            yield Change(f"data.{part}[{index}].max_documents", source.max_documents, few)
    tokenizer = spec.data.tokenizer
    if tokenizer is not None and tokenizer.type == "bpe" and not _keeps_vocabulary(spec):
        size = tokenizer.vocab_size
        yield Change("data.tokenizer.vocab_size", size, min(size, _VOCABULARY))
    if tokenizer is not None and tokenizer.type == "pretrained" and spec.model.pretrained and tokenizer.path is None:
        yield Change("data.tokenizer.path", None, spec.model.pretrained)
    length = spec.data.seq_len
    if length is not None:
        few = min(length, _LENGTHS.get(spec.task.type, _USUAL_LENGTH))
        yield Change("data.seq_len", length, few - few % ranks.sp)
        for what, pieces in spec.tiling.model_dump().items():
            yield Change(f"tiling.{what}", pieces, min(pieces, few // ranks.sp))


def _lengths(spec: RunSpec, ranks: Topology) -> Iterator[Change]:
    batch, schedule = spec.batch, spec.schedule
    accumulation = max(min(int(batch.gradient_accumulation_steps), 2), ranks.pp)
    micro = min(batch.micro_batch_size, 2)
    yield Change("batch.micro_batch_size", batch.micro_batch_size, micro)
    yield Change("batch.global_batch_size", batch.global_batch_size, micro * accumulation * ranks.dp)
    yield Change("batch.gradient_accumulation_steps", batch.gradient_accumulation_steps, accumulation)
    yield Change("horizon", str(spec.horizon), f"{STEPS} steps")
    for field in () if isinstance(schedule, OneCycleSchedule) else ("warmup", "decay"):
        if getattr(schedule, field, None) is not None:
            yield Change(f"schedule.{field}", str(getattr(schedule, field)), "1 steps")
    yield Change("checkpoint.save_every", _text(spec.checkpoint.save_every), "1 steps")
    if spec.export is not None and spec.export.every is not None:
        yield Change("export.every", str(spec.export.every), "2 steps")
    if spec.archive is not None:
        yield Change("archive", _dumped(spec.archive), None)
    if spec.data.validation:
        samples = min(spec.evaluation.max_samples or 4, 4)
        yield Change("evaluation.max_samples", spec.evaluation.max_samples, samples)
        yield Change("evaluation.every", _text(spec.evaluation.every), f"{STEPS} steps")
        yield Change("evaluation.early_stopping", _dumped(spec.evaluation.early_stopping), None)
    yield Change("monitor.every", spec.monitor.every, 1)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _dumped(value: Any) -> Any:
    return None if value is None else value.model_dump(mode="json")


def _kernels(spec: RunSpec) -> Iterator[Change]:
    """Yields what stands for things that need a GPU."""
    attention, zero = spec.model.attention, spec.zero
    if attention == "flash_attention_2":
        yield Change("model.attention", attention, "sdpa", "the kernels of FlashAttention 2")
    if spec.optimizer.type in ("lamb", "lion") and (spec.optimizer.type == "lamb" or zero.offload_optimizer is None):
        kept = {"type": "adamw", "lr": spec.optimizer.lr, "clip_norm": spec.optimizer.clip_norm}
        lost = f"`{spec.optimizer.type}`, which needs a CUDA GPU: AdamW takes its place"
        yield Change("optimizer", spec.optimizer.model_dump(mode="json"), kept, lost)
    for field in ("quantized_weights", "quantized_gradients"):
        if getattr(zero, field):
            yield Change(f"zero.{field}", True, False, f"`zero.{field}`, whose kernels need a CUDA GPU")
    if zero.offload_param is not None and zero.offload_param.device == "nvme":
        lost = "`zero.offload_param` on NVMe: parameters go to host memory"
        yield Change("zero.offload_param", _dumped(zero.offload_param), {"device": "cpu"}, lost)
    if zero.hpz_partition_size > 1:
        yield Change("zero.hpz_partition_size", zero.hpz_partition_size, 2)
