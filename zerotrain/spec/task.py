"""What a model is trained to do."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zerotrain.spec.base import Auto, Bool, Fraction, Int, NonNegativeFloat, PositiveFloat, PositiveInt, Spec

Smoothing = Annotated[float, Field(strict=True, ge=0, lt=1)]
Probability = Annotated[float, Field(strict=True, gt=0, lt=1)]
Labels = Annotated[list[str], Field(min_length=2)]
HalfSmoothing = Annotated[float, Field(strict=True, ge=0, lt=0.5)]
TooLong = Literal["drop", "cut", "refuse"]


class PretrainTask(Spec):
    """Predict the next token of text."""

    type: Literal["pretrain"] = "pretrain"
    label_smoothing: Smoothing = 0.0
    """Share of the target that is spread over the whole vocabulary."""


class MaskedLmTask(Spec):
    """Predict tokens that are hidden from the model, from those on both sides of them, as BERT does."""

    type: Literal["masked_lm"]
    mask_probability: Probability = 0.15
    """Share of a sample's tokens that are to be predicted, at least one; special tokens never are. Which ones is drawn
    anew whenever a sample is seen again; in validation they stay the same."""
    mask_share: Fraction = 0.8
    """Share of these that the model sees as the mask token."""
    random_share: Fraction = 0.1
    """Share of these that the model sees as a random token; it sees the rest as they are."""
    whole_word: Bool = False
    """Choose words, as the tokenizer marks them, instead of tokens."""
    label_smoothing: Smoothing = 0.0
    """Share of the target that is spread over the whole vocabulary."""


class TeacherSpec(Spec):
    """A trained model that shows a student how to predict. It is never trained, saved or exported."""

    pretrained: str
    """A folder or hub id with its weights."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    dtype: Literal["fp32", "bf16"] | Auto = "auto"
    """Numbers it computes in; `auto`: `bf16` where the student trains in it, else `fp32`."""


LayerPair = Annotated[list[Int], Field(min_length=2, max_length=2)]


class DistillTask(Spec):
    """Predict the next token of text as a teacher does, who reads the same tokens."""

    type: Literal["distill"]
    teacher: TeacherSpec
    temperature: PositiveFloat = 2.0
    """What the logits of both are divided by before they are compared: above 1, unlikely tokens count more."""
    soft_weight: Fraction = 0.5
    """Share of the loss that compares with the teacher; the rest is the cross-entropy with the text."""
    hidden_weight: NonNegativeFloat = 0.0
    """Weight of the mean squared error between hidden states, added to the loss; both models need the same width."""
    hidden_layers: Annotated[list[LayerPair], Field(min_length=1)] = [[-1, -1]]
    """Pairs of a student's and a teacher's hidden state to compare: 0 is the embeddings, 1 what the first layer makes
    of them, -1 the last."""


class SequenceClassificationTask(Spec):
    """Put texts into classes; a record has `text`, optionally `text_pair`, and `label`."""

    type: Literal["sequence_classification"]
    labels: Labels | None = None
    """Names of the classes in the order of their numbers; `null`: those of the training data, sorted."""
    label_smoothing: Smoothing = 0.0
    """Share of the target that is spread over all classes."""


class ImageClassificationTask(Spec):
    """Put images into classes; a record has `image` and `label`."""

    type: Literal["image_classification"]
    labels: Labels | None = None
    """Names of the classes in the order of their numbers; `null`: those of the training data, sorted."""
    label_smoothing: Smoothing = 0.0
    """Share of the target that is spread over all classes."""
    top_k: list[PositiveInt] = []
    """Report too how often the right class is among the so many likeliest: `[5]` adds `top_5_accuracy`."""


class SftTask(Spec):
    """Learn to answer; a record has `messages`, or `prompt` and `completion` (both text, or both lists of messages)."""

    type: Literal["sft"]
    train_on: Literal["answers", "all"] = "answers"
    """`answers`: only what the assistant says is trained, the token that ends an answer included; `all`: every token.
    Of `prompt` and `completion` only the completion is an answer."""
    too_long: TooLong = "drop"
    """What becomes of a record of more than `data.seq_len` tokens: `drop` leaves it out, `cut` trains on its beginning,
    `refuse` stops before training. The first two are counted, and said."""
    label_smoothing: Smoothing = 0.0
    """Share of the target that is spread over the whole vocabulary."""


class DpoTask(Spec):
    """Prefer one answer to another; a record has `prompt`, `chosen` and `rejected`, all text or all lists of messages.

    The reference is the model as it is before the first step; its probabilities are computed once and kept.
    """

    type: Literal["dpo"]
    beta: PositiveFloat = 0.1
    """How strongly the model is held to the reference: the larger, the closer it stays."""
    loss: Literal["sigmoid", "ipo", "hinge"] = "sigmoid"
    """`sigmoid`: DPO; `ipo`: a squared distance that cannot grow without bound, of the mean over tokens; `hinge`: no
    loss beyond a margin."""
    label_smoothing: HalfSmoothing = 0.0
    """Probability that a pair is labelled the wrong way round (conservative DPO); for `sigmoid` only."""
    too_long: TooLong = "drop"
    """What becomes of a pair in which a sequence has more than `data.seq_len` tokens, as for `sft`."""


class RewardTask(Spec):
    """Give the better of two answers the higher number; records are those of `dpo`."""

    type: Literal["reward"]
    center_coefficient: NonNegativeFloat = 0.0
    """Weight of the squared sum of both rewards, which keeps them around 0."""
    too_long: TooLong = "drop"
    """What becomes of a pair in which a sequence has more than `data.seq_len` tokens, as for `sft`."""


TaskSpec = Annotated[
    PretrainTask
    | MaskedLmTask
    | SequenceClassificationTask
    | ImageClassificationTask
    | SftTask
    | DpoTask
    | RewardTask
    | DistillTask,
    Field(discriminator="type"),
]
