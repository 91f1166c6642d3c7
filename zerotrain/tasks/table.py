"""Which tasks there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zerotrain.tasks.base import Task, TaskContext
from zerotrain.tasks.dpo import Dpo
from zerotrain.tasks.pretrain import Pretrain
from zerotrain.tasks.reward import Reward
from zerotrain.tasks.sequence_classification import SequenceClassification
from zerotrain.tasks.sft import Sft

TASKS: Mapping[str, Callable[[TaskContext], Task]] = {
    "pretrain": Pretrain,
    "sequence_classification": SequenceClassification,
    "sft": Sft,
    "dpo": Dpo,
    "reward": Reward,
}
"""Task of a spec, by `task.type`."""
