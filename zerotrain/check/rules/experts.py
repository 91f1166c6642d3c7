"""ZT4: experts that are spread over ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from zerotrain.arch.sparse import EXPERT_BLOCKS
from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, rule
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.run import RunSpec
from zerotrain.spec.suggest import listed

_GATES = ("silu", "swish")
"""Names of the activation that AutoEP computes for every model that has experts."""

_WITH_ROUTER_LOSS = ("pretrain", "sft")

_EXCLUDED: Mapping[str, tuple[Callable[[RunSpec], object], str, str]] = {
    "ema": (
        lambda spec: spec.ema,
        "the average of weights that are different on each rank",
        "remove `ema`",
    ),
    "model.adapter": (
        lambda spec: spec.model.adapter,
        "an adapter, whose layers it would replace",
        "use `zero: {stage: 3}` instead of `ep`",
    ),
    "model.freeze": (
        lambda spec: spec.model.freeze,
        "frozen weights, which the checkpoint of experts leaves out",
        "train all weights, or use `zero: {stage: 3}` instead of `ep`",
    ),
    "optimizer.type": (
        lambda spec: spec.optimizer.type == "muon",
        "`muon`, which makes groups of parameters of its own and loses which are experts",
        "use `adamw`",
    ),
    "zero.offload_optimizer.device": (
        lambda spec: spec.zero.offload_optimizer and spec.zero.offload_optimizer.device == "nvme",
        "optimizer states on NVMe, from which DeepSpeed saves no experts",
        "use `device: cpu`",
    ),
}
"""What does not go with expert parallelism: whether a spec has it, what it is, and the way out."""

_OF_ANY_LAYERS = ("ema", "zero.offload_optimizer.device")
"""Those of them that the experts of a dense model cannot have either; its others have a rule of their own."""


@rule("ZT470", "indivisible-experts")
def indivisible_experts(case: Case) -> Iterator[Diagnostic]:
    """The experts of a layer cannot be spread evenly.

    Why: every rank of an expert-parallel group holds the same number of experts.
    Wrong: `parallel: {ep: 3}` for a Mixtral, which has 8 experts in each layer
    Right: `parallel: {ep: 4}`
    """
    ranks, experts = case.spec.parallel.ep, case.shape.experts if case.shape else None
    if experts is not None and experts.num_experts % ranks:
        number = experts.num_experts
        divisors = listed([str(i) for i in range(2, number + 1) if number % i == 0], "or")
        message = f"the {number} experts of a layer cannot be spread over {ranks} ranks"
        yield case.error("parallel.ep", message, help=f"use {divisors}")


@rule("ZT471", "unfilled-expert-groups")
def unfilled_expert_groups(case: Case) -> Iterator[Diagnostic]:
    """The ranks do not divide into groups that hold all experts.

    Why: expert parallelism takes its ranks from the data-parallel ones: each group of `ep` of them holds every expert
    once, and a rank outside of a group would have none.
    Wrong: `parallel: {ep: 4}` on 6 ranks
    Right: `parallel: {ep: 2}` on 6 ranks
    """
    ranks, available = case.spec.parallel.ep, case.topology.dp
    if available and available % ranks:
        message = f"`ep: {ranks}` does not divide the {available} data-parallel ranks"
        yield case.error("parallel.ep", message, help="use a divisor of them, or another number of ranks")


@rule("ZT472", "experts-with-another-axis")
def experts_with_another_axis(case: Case) -> Iterator[Diagnostic]:
    """Expert parallelism is combined with another axis of model parallelism.

    Why: the layers that DeepSpeed puts in the place of those with experts take part in no other axis in this version.
    Wrong: `parallel: {ep: 2, tp: 2}`
    Right: `parallel: {ep: 4}`
    """
    parallel, has_own = case.spec.parallel, case.spec.moe is None
    for axis in ("tp", "pp", "sp"):
        if has_own and parallel.ep > 1 and (degree := getattr(parallel, axis)) > 1:
            message = f"`{axis}: {degree}` does not go with `ep: {parallel.ep}`"
            yield case.error(
                f"parallel.{axis}", message, help=f"remove it; `ep: {parallel.ep * degree}` uses its ranks"
            )


@rule("ZT473", "no-experts")
def no_experts(case: Case) -> Iterator[Diagnostic]:
    """Experts are to be spread over ranks, but the model has none that could be.

    Why: DeepSpeed knows the layers of a few families. For a dense model it only warns, and trains without a word more
    with every rank holding everything.
    Wrong: `{model: {architecture: llama}, parallel: {ep: 2}}`
    Right: `{model: {architecture: mixtral}, parallel: {ep: 2}}`
    """
    ranks, (architecture, _) = case.spec.parallel.ep, case.model
    has_none = architecture not in EXPERT_BLOCKS or (case.shape is not None and case.shape.experts is None)
    if ranks > 1 and architecture is not None and has_none and case.spec.moe is None:
        message = f"`ep: {ranks}` has nothing to spread: this `{architecture}` has no layer with experts that is known"
        help = f"known are {listed(EXPERT_BLOCKS, 'and')}; `moe` gives a dense model some"
        yield case.error("parallel.ep", message, help=help)


@rule("ZT474", "excluded-by-experts")
def excluded_by_experts(case: Case) -> Iterator[Diagnostic]:
    """Experts are spread over ranks together with something that would lose some of them.

    Why: each rank trains other experts than its neighbours; what takes all ranks for copies of one another, or keeps a
    list of the weights it began with, does something else without a word, or fails when the checkpoint is written.
    Wrong: `{parallel: {ep: 2}, ema: {decay: 0.999}}`
    Right: `parallel: {ep: 2}`
    """
    if case.spec.parallel.ep == 1:
        return
    for key, (has, what, help) in _EXCLUDED.items():
        if has(case.spec) and (case.spec.moe is None or key in _OF_ANY_LAYERS):
            yield case.error(key, f"`ep: {case.spec.parallel.ep}` does not go with {what}", help=help)


@rule("ZT475", "other-expert-function")
def other_expert_function(case: Case) -> Iterator[Diagnostic]:
    """The layers that DeepSpeed makes for expert parallelism compute something else than this model's.

    Why: they have no noise in the router, of which DeepSpeed only warns, and gate with SiLU alone.
    Wrong: `{model: {architecture: mixtral, config: {router_jitter_noise: 0.01}}, parallel: {ep: 2}}`
    Right: `{model: {architecture: mixtral}, parallel: {ep: 2}}`
    """
    if case.spec.parallel.ep == 1 or case.spec.moe is not None:
        return
    _, config = case.model
    noise, gate = config.get("router_jitter_noise"), config.get("hidden_act", "silu")
    if noise:
        message = f"experts on several ranks ignore `router_jitter_noise` {noise}"
        yield case.error("model.config.router_jitter_noise", message, help="set it to 0")
    if gate not in _GATES:
        message = f"experts on several ranks compute with `silu`, and the model with `{gate}`"
        yield case.error("model.config.hidden_act", message, help="use `silu`, or `ep: 1`")


@rule("ZT476", "unused-router-loss")
def unused_router_loss(case: Case) -> Iterator[Diagnostic]:
    """The loss of the routers is asked for in a task that does not train with it.

    Why: transformers adds it to a loss of its own, which no task uses; only those below add it to theirs.
    Wrong: `{task: {type: dpo}, model: {architecture: mixtral, config: {output_router_logits: true}}}`
    Right: `{task: {type: pretrain}, model: {architecture: mixtral, config: {output_router_logits: true}}}`
    """
    if case.model[1].get("output_router_logits") is True and case.spec.task.type not in _WITH_ROUTER_LOSS:
        message = f"`{case.spec.task.type}` does not train with the loss of the routers, so it would be ignored"
        help = f"remove it, or train with {listed(_WITH_ROUTER_LOSS)}"
        yield case.error("model.config.output_router_logits", message, help=help)


RULES: tuple[Rule, ...] = (
    indivisible_experts,
    unfilled_expert_groups,
    experts_with_another_axis,
    no_experts,
    excluded_by_experts,
    other_expert_function,
    unused_router_loss,
)
