"""What a model is trained to do."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zerotrain.spec.base import Spec

Smoothing = Annotated[float, Field(strict=True, ge=0, lt=1)]
Labels = Annotated[list[str], Field(min_length=2)]


class PretrainTask(Spec):
    """Predict the next token of text."""

    type: Literal["pretrain"] = "pretrain"
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


TaskSpec = Annotated[PretrainTask | SequenceClassificationTask | ImageClassificationTask, Field(discriminator="type")]
