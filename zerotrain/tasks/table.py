"""Which tasks there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zerotrain.tasks.base import Task, TaskContext
from zerotrain.tasks.distill import Distill
from zerotrain.tasks.dpo import Dpo
from zerotrain.tasks.image_classification import ImageClassification
from zerotrain.tasks.masked_lm import MaskedLm
from zerotrain.tasks.pretrain import Pretrain
from zerotrain.tasks.reward import Reward
from zerotrain.tasks.sequence_classification import SequenceClassification
from zerotrain.tasks.sft import Sft

TASKS: Mapping[str, Callable[[TaskContext], Task]] = {
    "pretrain": Pretrain,
    "masked_lm": MaskedLm,
    "distill": Distill,
    "sequence_classification": SequenceClassification,
    "image_classification": ImageClassification,
    "sft": Sft,
    "dpo": Dpo,
    "reward": Reward,
}
"""Task of a spec, by `task.type`."""
