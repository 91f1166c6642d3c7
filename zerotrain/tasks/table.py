"""Which tasks there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zerotrain.spec.run import RunSpec
from zerotrain.tasks.base import Task
from zerotrain.tasks.pretrain import Pretrain

TASKS: Mapping[str, Callable[[RunSpec], Task]] = {
    "pretrain": lambda spec: Pretrain(spec.model.attention),
}
"""Task of a spec, by `task.type`."""
