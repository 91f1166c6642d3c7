"""Which tasks there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zerotrain.tasks.base import Task, TaskContext
from zerotrain.tasks.image_classification import ImageClassification
from zerotrain.tasks.masked_lm import MaskedLm
from zerotrain.tasks.pretrain import Pretrain
from zerotrain.tasks.sequence_classification import SequenceClassification

TASKS: Mapping[str, Callable[[TaskContext], Task]] = {
    "pretrain": Pretrain,
    "masked_lm": MaskedLm,
    "sequence_classification": SequenceClassification,
    "image_classification": ImageClassification,
}
"""Task of a spec, by `task.type`."""
