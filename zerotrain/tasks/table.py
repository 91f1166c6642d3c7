"""Which tasks there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zerotrain.tasks.base import Task, TaskContext
from zerotrain.tasks.distill import Distill
from zerotrain.tasks.pretrain import Pretrain
from zerotrain.tasks.sequence_classification import SequenceClassification

TASKS: Mapping[str, Callable[[TaskContext], Task]] = {
    "pretrain": Pretrain,
    "distill": Distill,
    "sequence_classification": SequenceClassification,
}
"""Task of a spec, by `task.type`."""
