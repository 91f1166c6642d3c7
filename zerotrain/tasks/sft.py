"""Learning to answer."""

from __future__ import annotations

from zerotrain.spec.task import SftTask
from zerotrain.tasks.base import TaskContext
from zerotrain.tasks.pretrain import Pretrain


class Sft(Pretrain):
    """Predicts the next token of answers: the data has no label for any other token."""

    def __init__(self, context: TaskContext) -> None:
        assert isinstance(context.task, SftTask)
        self._smoothing = context.task.label_smoothing
