"""ZT1: which parameters are trained, and what moves them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, reported_by, rule
from zerotrain.compile.adapters import ModelParameters, model_parameters
from zerotrain.compile.model import experts_of
from zerotrain.compile.sections.groups import frozen, unmatched, unmatched_words
from zerotrain.diagnostic import Diagnostic


@rule("ZT150", "unmatched-pattern")
def unmatched_pattern(case: Case) -> Iterator[Diagnostic]:
    """A pattern matches no parameter of the model.

    Why: what it was meant for would be trained like all the rest, without a word. Patterns are searched in the names
    of `named_parameters()`; those of `optimizer.groups` only in what is trained.
    Wrong: `model: {architecture: gpt2, freeze: [embed_tokens]}`
    Right: `model: {architecture: gpt2, freeze: [wte]}`
    """
    known = _parameters(case)
    if known is None:
        return
    names, freeze = list(known.shapes), case.spec.model.freeze
    yield from _findings(case, [(f"model.freeze[{i}]", freeze[i]) for i in unmatched(freeze, names)], names)
    trained = _trained(case, known)
    groups = [group.match for group in case.spec.optimizer.groups]
    missed = [(f"optimizer.groups[{i}].match", groups[i]) for i in unmatched(groups, trained)]
    yield from _findings(case, missed if trained else [], trained)


def _findings(case: Case, missed: Sequence[tuple[str, str]], names: Sequence[str]) -> Iterator[Diagnostic]:
    for key, pattern in missed:
        message, help = unmatched_words(pattern, names)
        yield case.error(key, message, help=help)


@rule("ZT151", "nothing-to-train")
def nothing_to_train(case: Case) -> Iterator[Diagnostic]:
    """Every parameter is frozen.

    Why: the optimizer has nothing to move, and DeepSpeed fails when it is built.
    Wrong: `model: {architecture: llama, freeze: ["."]}`
    Right: `model: {architecture: llama, freeze: ["^model[.]embed_tokens"]}`
    """
    known = _parameters(case)
    if known is not None and known.trainable and not _trained(case, known):
        message = f"`model.freeze` matches all {len(known.trainable)} parameters, and nothing is left to train"
        yield case.error("model.freeze", message, help="freeze fewer, such as `^model[.]embed_tokens`")


def _parameters(case: Case) -> ModelParameters | None:
    """Returns the model's parameters, or None when only the built model knows them."""
    architecture, config = case.model
    if case.shape is None or architecture is None:
        return None
    return model_parameters(architecture, config, case.shape.head, case.spec.model, experts_of(case.spec))


def _trained(case: Case, known: ModelParameters) -> list[str]:
    still = set(frozen(case.spec.model.freeze, known.trainable))
    return [name for name in known.trainable if name not in still]


@rule("ZT152", "factored-on-shards")
def factored_on_shards(case: Case) -> Iterator[Diagnostic]:
    """Adafactor is used with ZeRO.

    Why: Adafactor keeps second moments by rows and columns of each matrix. ZeRO steps on flat partitions without rows
    or columns, so that it would be another optimizer, which keeps all that Adafactor saves.
    Wrong: `{optimizer: {type: adafactor, lr: 0.01}, zero: {stage: 2}}`
    Right: `{optimizer: {type: adafactor, lr: 0.01}, zero: {stage: 0}}`
    """
    stage = case.spec.zero.stage
    if case.spec.optimizer.type == "adafactor" and stage > 0:
        message = f"at ZeRO stage {stage} Adafactor sees flat partitions instead of matrices"
        yield case.error("optimizer.type", message, help="use `zero: {stage: 0}`, or `adamw`")


@reported_by("`zerotrain compile`", "ZT156", "unsaid-groups")
def unsaid_groups() -> None:
    """Groups of parameters are not in the compiled JSON.

    Why: DeepSpeed takes them as an argument of `deepspeed.initialize`, not from its config. A script that uses the JSON
    by hand would train all parameters alike.
    Wrong: `optimizer: {groups: [{match: embed, lr: 1.0e-4}]}` with `zerotrain compile --for deepspeed`
    Right: the same groups in the script: `deepspeed.initialize(model_parameters=groups, …)`
    """


RULES: tuple[Rule, ...] = (unmatched_pattern, nothing_to_train, factored_on_shards, unsaid_groups)
