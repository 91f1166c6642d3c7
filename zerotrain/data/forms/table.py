"""The form of each task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zerotrain.data.forms.base import Form
from zerotrain.data.forms.classification import TextClassificationForm
from zerotrain.data.forms.distillation import DistillationForm
from zerotrain.data.forms.text import TextForm

FORMS: Mapping[str, Callable[[Any], Form]] = {
    "pretrain": TextForm,
    "distill": DistillationForm,
    "sequence_classification": TextClassificationForm,
}
"""Form of a task, by `task.type`, made of the task's section of the spec."""
