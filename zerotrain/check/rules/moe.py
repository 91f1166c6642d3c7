"""ZT4: dense decoders that get experts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil

from zerotrain.arch.counterparts import COUNTERPARTS, obstacles
from zerotrain.arch.experts import GATED
from zerotrain.arch.sparse import EXPERT_BLOCKS
from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, reported_by, rule
from zerotrain.compile.adapters import model_parameters
from zerotrain.compile.sections.groups import frozen
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.moe import MoeSpec
from zerotrain.spec.run import RunSpec
from zerotrain.spec.suggest import listed

_TASKS = ("pretrain", "sft")
_OF_CAPACITY = ("capacity_factor", "eval_capacity_factor", "min_capacity")

_EXCLUDED: Mapping[str, tuple[Callable[[RunSpec], object], str, str]] = {
    "task.type": (
        lambda spec: spec.task.type not in _TASKS,
        "a task that does not train routers to spread tokens evenly",
        f"use {listed(_TASKS)}",
    ),
    "model.adapter": (
        lambda spec: spec.model.adapter,
        "an adapter, which knows the dense layers alone",
        "train all weights, or freeze some: `model.freeze`",
    ),
    "optimizer.type": (
        lambda spec: spec.optimizer.type == "muon",
        "`muon`, which makes groups of parameters of its own and loses which are experts",
        "use `adamw`",
    ),
    "activation_checkpointing.implementation": (
        lambda spec: (
            spec.activation_checkpointing.granularity != "none"
            and spec.activation_checkpointing.implementation == "deepspeed"
        ),
        "DeepSpeed's activation checkpointing, which takes its gradient from the loss of the routers",
        "use `implementation: torch`",
    ),
}
"""What does not go with experts of a dense model: whether a spec has it, what it is, and the way out."""


@rule("ZT477", "moe-at-stage-3")
def moe_at_stage_3(case: Case) -> Iterator[Diagnostic]:
    """A dense model is to get experts at ZeRO stage 3.

    Why: stage 3 cannot partition the experts of DeepSpeed's `MoE`; the engine refuses them, spread over ranks or not.
    Wrong: `{moe: {experts: 8}, zero: {stage: 3}}`
    Right: `{moe: {experts: 8}, zero: {stage: 2}, parallel: {ep: 8}}`
    """
    if case.spec.moe is not None and case.spec.zero.stage == 3:
        help = "use `stage: 2`; `parallel.ep` spreads the experts, which are most of the weights"
        yield case.error("zero.stage", "`moe` does not go with stage 3", help=help)


@rule("ZT478", "inexpert-model")
def inexpert_model(case: Case) -> Iterator[Diagnostic]:
    """A model is to get experts whose feed-forward layers are not known.

    Why: experts take the place of the gated `mlp` of each layer of a decoder. Encoders, image models and GPT-2 have
    other layers, and a Mixtral has experts of its own.
    Wrong: `{model: {architecture: mixtral}, moe: {experts: 8}}`
    Right: `{model: {architecture: mixtral}}`, or `{model: {architecture: llama}, moe: {experts: 8}}`
    """
    architecture, _ = case.model
    if case.spec.moe is None or architecture is None or architecture in GATED:
        return
    if architecture in EXPERT_BLOCKS:
        message, help = f"a `{architecture}` has experts already", "remove `moe`; its config says how many"
    else:
        message, help = f"a `{architecture}` cannot get experts", f"known are {listed(GATED, 'and')}"
    yield case.wrong_key("moe", message, help=help)


@rule("ZT479", "moe-with-another-axis")
def moe_with_another_axis(case: Case) -> Iterator[Diagnostic]:
    """A dense model that gets experts is also divided along another axis.

    Why: the layers of DeepSpeed's `MoE` take part in no axis but data and experts in this version.
    Wrong: `{moe: {experts: 8}, parallel: {tp: 2}}`
    Right: `{moe: {experts: 8}, parallel: {ep: 2}}`
    """
    for axis in ("tp", "pp", "sp"):
        degree = getattr(case.spec.parallel, axis)
        if case.spec.moe is not None and degree > 1:
            help = f"remove it; `ep: {degree}` uses its ranks"
            yield case.error(f"parallel.{axis}", f"`{axis}: {degree}` does not go with `moe`", help=help)


@rule("ZT481", "too-many-choices")
def too_many_choices(case: Case) -> Iterator[Diagnostic]:
    """More experts are to compute a token than there are.

    Why: each of the `top_k` is another one.
    Wrong: `moe: {experts: 4, top_k: 8}`
    Right: `moe: {experts: 8, top_k: 2}`
    """
    moe = case.spec.moe
    if moe is not None and moe.top_k > moe.experts:
        message = f"`top_k` {moe.top_k} is more than the {moe.experts} experts of a layer"
        yield case.error("moe.top_k", message, help=f"use at most {moe.experts}")


@rule("ZT482", "no-layer-with-experts")
def no_layer_with_experts(case: Case) -> Iterator[Diagnostic]:
    """No layer gets experts.

    Why: layers are counted from 1, and those that are a multiple of `every` have experts.
    Wrong: `moe: {experts: 8, every: 4}` for a model with 2 layers
    Right: `moe: {experts: 8, every: 2}`
    """
    moe, shape = case.spec.moe, case.shape
    if moe is not None and shape is not None and shape.architecture in GATED and moe.every > shape.num_layers:
        message = f"`every: {moe.every}` gives none of the {shape.num_layers} layers experts"
        yield case.error("moe.every", message, help=f"use at most {shape.num_layers}")


@rule("ZT483", "excluded-by-moe")
def excluded_by_moe(case: Case) -> Iterator[Diagnostic]:
    """A dense model gets experts together with something that does not know them.

    Why: only `pretrain` and `sft` add the loss of the routers to theirs, without which all tokens go to a few experts.
    An adapter would look for layers that are gone, and Muon's own groups do not tell experts from the rest, which
    DeepSpeed refuses. Its activation checkpointing computes a layer without gradients first, where the routers' loss is
    taken: training would go on without it, and not say so.
    Wrong: `{moe: {experts: 8}, activation_checkpointing: {granularity: full, implementation: deepspeed}}`
    Right: `{moe: {experts: 8}, activation_checkpointing: full}`
    """
    for key, (has, what, help) in _EXCLUDED.items():
        if case.spec.moe is not None and has(case.spec):
            yield case.error(key, f"`moe` does not go with {what}", help=help)


@rule("ZT484", "idle-moe-setting")
def idle_moe_setting(case: Case) -> Iterator[Diagnostic]:
    """A setting of `moe` has no effect.

    Why: capacities count only where tokens beyond them are dropped, and only if they are smaller than a micro-batch;
    DeepSpeed draws the choice of a router only where it chooses one expert.
    Wrong: `moe: {experts: 8, top_k: 2, noisy_gate: rsample}`
    Right: `moe: {experts: 8, top_k: 2, noisy_gate: jitter}`
    """
    moe = case.spec.moe
    if moe is None:
        return
    if moe.noisy_gate == "rsample" and moe.top_k > 1:
        message = f"`noisy_gate: rsample` does nothing with `top_k: {moe.top_k}`"
        yield case.warning("moe.noisy_gate", message, help="use `jitter`, or `top_k: 1`")
    for field in _unused(moe):
        message = f"`{field}` does nothing while no token is dropped"
        yield case.warning(f"moe.{field}", message, help="set `drop_tokens: true`, or remove it")
    roomy = _roomy(moe, _tokens(case)) if moe.drop_tokens else None
    if roomy is not None:
        message = f"`drop_tokens` does nothing: each expert has room for all {_tokens(case)} tokens of a micro-batch"
        yield case.warning(f"moe.{roomy[0]}", message, help=f"use a `{roomy[0]}` below {roomy[1]:g}, or drop none")


def _unused(moe: MoeSpec) -> list[str]:
    """Returns what is written of capacities that nothing looks at; for one expert DeepSpeed asks for the least."""
    looked_at = _OF_CAPACITY if moe.drop_tokens else ("min_capacity",) if moe.top_k == 1 else ()
    return [field for field in _OF_CAPACITY if field in moe.model_fields_set and field not in looked_at]


def _roomy(moe: MoeSpec, tokens: int | None) -> tuple[str, float] | None:
    """Returns what gives an expert room for a whole micro-batch, and below which value it does not."""
    if tokens is None or moe.min_capacity > tokens:
        return None
    if ceil(tokens / moe.experts * moe.capacity_factor * moe.top_k) >= tokens:
        return "capacity_factor", moe.experts / moe.top_k
    return ("min_capacity", tokens) if moe.min_capacity == tokens else None


def _tokens(case: Case) -> int | None:
    """Returns the tokens of a micro-batch, or None when they are not settled."""
    micro, length = case.resolved.spec.batch.micro_batch_size, case.spec.data.seq_len
    return micro * length if isinstance(micro, int) and length is not None else None


@rule("ZT485", "upcycled-otherwise")
def upcycled_otherwise(case: Case) -> Iterator[Diagnostic]:
    """The experts begin as the dense layer, but the model does not.

    Why: with one expert for each token its result counts by the router's probability, which is far below 1 at the
    start; the probabilities of several sum to 1.
    Wrong: `moe: {experts: 8, top_k: 1, init: upcycled}`
    Right: `moe: {experts: 8, top_k: 2, init: upcycled}`
    """
    moe = case.spec.moe
    if moe is not None and moe.init == "upcycled" and moe.top_k == 1:
        message = f"with `top_k: 1` a layer begins as about 1/{moe.experts} of the dense one"
        yield case.warning("moe.top_k", message, help="use `top_k: 2`")


@rule("ZT486", "unfillable-capacity")
def unfillable_capacity(case: Case) -> Iterator[Diagnostic]:
    """A micro-batch has fewer tokens than an expert must have room for.

    Why: nothing could be dropped. With `top_k: 1` DeepSpeed refuses the first micro-batch, drops or not; with more it
    computes places that no token can take.
    Wrong: `{moe: {experts: 8, top_k: 1, min_capacity: 1024}, batch: {micro_batch_size: 1}, data: {seq_len: 512}}`
    Right: `{moe: {experts: 8, top_k: 1, min_capacity: 4}, batch: {micro_batch_size: 1}, data: {seq_len: 512}}`
    """
    moe, tokens = case.spec.moe, _tokens(case)
    if moe is None or tokens is None or not (moe.drop_tokens or moe.top_k == 1):
        return
    if moe.min_capacity > tokens:
        message = f"`min_capacity` {moe.min_capacity} is more than the {tokens} tokens of a micro-batch"
        yield case.error("moe.min_capacity", message, help=f"use less than {tokens}")


@rule("ZT487", "unexportable-experts")
def unexportable_experts(case: Case) -> Iterator[Diagnostic]:
    """A model is to be exported that no architecture of transformers computes.

    Why: an export is for plain transformers. A llama or mistral with experts in every layer is a `mixtral`, which
    weights at least two; a qwen3 with experts is a `qwen3_moe`; neither has a dense layer beside the experts. What has
    no counterpart can be trained and resumed. Drops are no part of either: an export computes every token.
    Wrong: `{model: {architecture: llama}, moe: {experts: 8, every: 2}, export: {}}`
    Right: `{model: {architecture: qwen3}, moe: {experts: 8, every: 2}, export: {}}`
    """
    if case.spec.export is not None:
        for why in _obstacles(case):
            yield case.error("export", f"the model cannot be exported: {why}", help=_way_out(case))


@rule("ZT480", "unpublished-experts")
def unpublished_experts(case: Case) -> Iterator[Diagnostic]:
    """A model can be trained that could not be exported.

    Why: as for ZT487; without `export` nothing fails, and nothing but a checkpoint comes of the run.
    Wrong: `{model: {architecture: qwen2}, moe: {experts: 8}}`
    Right: `{model: {architecture: qwen3}, moe: {experts: 8}}`
    """
    if case.spec.export is None:
        for why in _obstacles(case):
            yield case.info("moe", f"the model can be trained, but not exported: {why}", help=_way_out(case))


def _obstacles(case: Case) -> list[str]:
    """Returns what keeps a model from being exported, if it is one that could be trained."""
    moe, (architecture, config) = case.spec.moe, case.model
    if moe is None or architecture not in GATED or moe.top_k > moe.experts:
        return []
    return obstacles(architecture, config, moe) if case.shape and case.shape.experts else []


def _way_out(case: Case) -> str:
    if case.model[0] not in COUNTERPARTS:
        return f"a {listed(COUNTERPARTS)} with experts can be"
    return "one with `every: 1`, `top_k: 2` and without `residual` can be"


@rule("ZT488", "some-of-the-experts")
def some_of_the_experts(case: Case) -> Iterator[Diagnostic]:
    """A pattern means some experts of a layer, or freezes them all where ZeRO needs one.

    Why: each rank counts its experts from 0, so that a number in a pattern means other experts on each; and at stages 1
    and 2 DeepSpeed refuses a model with experts none of which is trained.
    Wrong: `{moe: {experts: 8}, parallel: {ep: 2}, model: {freeze: ["experts[.]0[.]"]}}`
    Right: `{moe: {experts: 8}, parallel: {ep: 2}, model: {freeze: [self_attn]}}`
    """
    experts = _experts(case)
    if not experts:
        return
    groups, freeze = case.spec.optimizer.groups, case.spec.model.freeze
    patterns = {f"model.freeze[{place}]": pattern for place, pattern in enumerate(freeze)}
    patterns |= {f"optimizer.groups[{place}].match": group.match for place, group in enumerate(groups)}
    for key, pattern in patterns.items() if case.spec.parallel.ep > 1 else ():
        if _tells_apart(pattern, experts):
            message = f"`{pattern}` means some experts of a layer, and on each rank others"
            yield case.error(key, message, help="leave their numbers out, or use `ep: 1`")
    if case.spec.zero.stage and len(frozen(freeze, experts)) == len(experts):
        message = f"all experts are frozen, which stage {case.spec.zero.stage} refuses"
        yield case.error("model.freeze", message, help="use `stage: 0`, or train some of them")


def _experts(case: Case) -> Sequence[str]:
    """Returns the names of the weights of all experts."""
    moe, (architecture, config) = case.spec.moe, case.model
    if moe is None or architecture not in GATED or case.shape is None:
        return ()
    shapes = model_parameters(architecture, config, case.shape.head, case.spec.model, moe).shapes
    return [name for name in shapes if _NUMBER.search(name)]


_NUMBER = re.compile(r"(?<=[.]deepspeed_experts[.])\d+")


def _tells_apart(pattern: str, experts: Sequence[str]) -> bool:
    chosen = {name: bool(re.search(pattern, name)) for name in experts}
    return any(is_chosen != chosen[_NUMBER.sub("0", name)] for name, is_chosen in chosen.items())


@reported_by("`zerotrain compile`", "ZT489", "unsaid-experts")
def unsaid_experts() -> None:
    """The experts that a dense model gets are not in the compiled JSON.

    Why: layers of DeepSpeed's `MoE` are built in Python; its config knows nothing of them. A script that uses the JSON
    by hand would train the dense model.
    Wrong: `moe: {experts: 8}` with `zerotrain compile --for hf`
    Right: `zerotrain train`, or the same layers in the script
    """


RULES: tuple[Rule, ...] = (
    moe_at_stage_3,
    inexpert_model,
    moe_with_another_axis,
    unpublished_experts,
    too_many_choices,
    no_layer_with_experts,
    excluded_by_moe,
    idle_moe_setting,
    upcycled_otherwise,
    unfillable_capacity,
    unexportable_experts,
    some_of_the_experts,
    unsaid_experts,
)
