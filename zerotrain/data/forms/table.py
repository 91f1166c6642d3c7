"""The form of each task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zerotrain.data.forms.base import Form
from zerotrain.data.forms.chat import ChatForm
from zerotrain.data.forms.classification import TextClassificationForm
from zerotrain.data.forms.distillation import DistillationForm
from zerotrain.data.forms.images import ImageClassificationForm
from zerotrain.data.forms.preference import PreferenceForm
from zerotrain.data.forms.text import MaskedTextForm, TextForm

FORMS: Mapping[str, Callable[[Any], Form]] = {
    "pretrain": TextForm,
    "distill": DistillationForm,
    "masked_lm": MaskedTextForm,
    "sequence_classification": TextClassificationForm,
    "image_classification": ImageClassificationForm,
    "sft": ChatForm,
    "dpo": PreferenceForm,
    "reward": PreferenceForm,
}
"""Form of a task, by `task.type`, made of the task's section of the spec."""
