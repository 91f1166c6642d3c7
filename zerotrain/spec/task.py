"""What a model is trained to do."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zerotrain.spec.base import Bool, PositiveInt, Spec

Smoothing = Annotated[float, Field(strict=True, ge=0, lt=1)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Probability = Annotated[float, Field(strict=True, gt=0, lt=1)]
Labels = Annotated[list[str], Field(min_length=2)]


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
    mask_share: Share = 0.8
    """Share of these that the model sees as the mask token."""
    random_share: Share = 0.1
    """Share of these that the model sees as a random token; it sees the rest as they are."""
    whole_word: Bool = False
    """Choose words, as the tokenizer marks them, instead of tokens."""
    label_smoothing: Smoothing = 0.0
    """Share of the target that is spread over the whole vocabulary."""


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


TaskSpec = Annotated[
    PretrainTask | MaskedLmTask | SequenceClassificationTask | ImageClassificationTask, Field(discriminator="type")
]
