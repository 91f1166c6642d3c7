"""Which tasks there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zerotrain.tasks.base import Task
from zerotrain.tasks.pretrain import Pretrain

TASKS: Mapping[str, Callable[[], Task]] = {"pretrain": Pretrain}
"""Task of a spec, by `task.type`."""
