"""A spec settled for the model it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from zerotrain.arch.describe import architectures, model_shape, shape_problems, supported_heads
from zerotrain.arch.shape import ModelShape
from zerotrain.compile.adapters import trainable_parameters
from zerotrain.compile.config_keys import image_keys
from zerotrain.compile.facts import DataFacts
from zerotrain.compile.resolve import Resolved, resolve
from zerotrain.compile.teacher import teacher_config
from zerotrain.compile.vocabulary import vocabulary_size
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import SpecError
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.spec.load import UnreadSection
from zerotrain.spec.moe import MoeSpec
from zerotrain.spec.pretrained import pretrained_config
from zerotrain.spec.run import RunSpec

HEADS: Mapping[str, str] = {
    "pretrain": "causal_lm",
    "sft": "causal_lm",
    "dpo": "causal_lm",
    "distill": "causal_lm",
    "masked_lm": "masked_lm",
    "sequence_classification": "sequence_classification",
    "reward": "sequence_classification",
    "image_classification": "image_classification",
}
"""What a model predicts, by `task.type`."""


def model_config(spec: RunSpec, pretrained: Mapping[str, Any] | None) -> tuple[str | None, dict[str, Any]]:
    """Returns the model type and the config keys that are known, the vocabulary's size among them."""
    own = _one_reward(spec) | spec.model.config
    if pretrained is not None:
        left_out = ("id2label", "label2id") if "num_labels" in own else ()
        kept = {key: value for key, value in pretrained.items() if key not in left_out}
        return str(pretrained["model_type"]), {**kept, **own}
    config = _image_keys(spec) | own
    vocabulary = _vocabulary(spec)
    if vocabulary is not None:
        config.setdefault("vocab_size", vocabulary)
    return spec.model.architecture, config


def _image_keys(spec: RunSpec) -> dict[str, Any]:
    try:
        return image_keys(spec)
    except UnreadSection:
        return {}


def _one_reward(spec: RunSpec) -> dict[str, Any]:
    """Returns the key of the config of a model that gives one number, for the task that needs it."""
    try:
        return {"num_labels": 1} if spec.task.type == "reward" else {}
    except UnreadSection:
        return {}


def _vocabulary(spec: RunSpec) -> int | None:
    """Returns the entries of the vocabulary, or None when they, or the whole section, are unknown."""
    try:
        return vocabulary_size(spec)
    except UnreadSection:
        return None


def shape_of(spec: RunSpec, pretrained: Mapping[str, Any] | None = None) -> ModelShape | None:
    """Returns the shape of the model, or None when zerotrain does not know the architecture or it is impossible."""
    architecture, config = model_config(spec, pretrained)
    head = _head(spec)
    if architecture not in architectures() or head not in supported_heads(architecture):
        return None
    if shape_problems(architecture, config, head):
        return None
    return model_shape(architecture, config, head, experts_of(spec))


def experts_of(spec: RunSpec) -> MoeSpec | None:
    """Returns what gives a dense model experts, or None when nothing does or the section could not be read."""
    try:
        return spec.moe if spec.moe is not None and spec.moe.experts else None
    except UnreadSection:
        return None


def _head(spec: RunSpec) -> str | None:
    """Returns what the model predicts, or None when the task could not be read."""
    try:
        return HEADS[spec.task.type]
    except UnreadSection:
        return None


def settle(
    spec: RunSpec, surroundings: Surroundings, *, world_size: int | None = None, facts: DataFacts | None = None
) -> Resolved:
    """Returns the spec settled for the model it asks for.

    Raises SpecError with everything that has no solution, weights that cannot be read among it, and for data with more
    tokens than the model has embeddings.
    """
    pretrained = pretrained_config(spec.model, surroundings.directory)
    teacher = teacher_config(spec, surroundings)
    if isinstance(pretrained, Diagnostic) or isinstance(teacher, Diagnostic):
        raise SpecError(*(unusable for unusable in (pretrained, teacher) if isinstance(unusable, Diagnostic)))
    if facts is not None:
        embeddings = model_config(spec, pretrained)[1].get("vocab_size")
        refuse_small_vocabulary(embeddings if isinstance(embeddings, int) else None, facts)
    shape = shape_of(spec, pretrained)
    resolved = resolve(spec, surroundings, shape=shape, world_size=world_size, facts=facts)
    return replace(resolved, trainable_parameters=_trainable(resolved, pretrained))


def _trainable(resolved: Resolved, pretrained: Mapping[str, Any] | None) -> int | None:
    architecture, config = model_config(resolved.spec, pretrained)
    if architecture is None or resolved.shape is None:
        return None
    head, moe = resolved.shape.head, experts_of(resolved.spec)
    return trainable_parameters(architecture, config, head, resolved.spec.model, moe)


def refuse_small_vocabulary(embeddings: int | None, facts: DataFacts) -> None:
    """Raises SpecError when tokens of the data have no embedding; does nothing while these are not counted."""
    if embeddings is not None and embeddings < facts.vocab_size:
        message = f"the model has {embeddings} embeddings for {facts.vocab_size} tokens"
        help = "use the model's own tokenizer: `{type: pretrained}`, or a smaller one"
        raise SpecError(error("ZT611", "small-vocabulary", message, help=help, key="data.tokenizer"))
