"""What a model is trained to do."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zerotrain.spec.base import Auto, Fraction, Int, NonNegativeFloat, PositiveFloat, Spec

Smoothing = Annotated[float, Field(strict=True, ge=0, lt=1)]
Labels = Annotated[list[str], Field(min_length=2)]


class PretrainTask(Spec):
    """Predict the next token of text."""

    type: Literal["pretrain"] = "pretrain"
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


TaskSpec = Annotated[
    PretrainTask | DistillTask | SequenceClassificationTask | ImageClassificationTask, Field(discriminator="type")
]
