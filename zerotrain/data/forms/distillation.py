"""Text for a student and its teacher."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from zerotrain.data.cache import Layer
from zerotrain.data.forms.base import Preparation
from zerotrain.data.forms.text import TextForm
from zerotrain.data.pretrained import TOKENIZER_FILE, find_pretrained
from zerotrain.diagnostic import error
from zerotrain.errors import DataError
from zerotrain.spec.data import PretrainedTokenizer
from zerotrain.spec.task import DistillTask, TeacherSpec


class DistillationForm(TextForm):
    """Distillation: a record has `text`, which the teacher reads as the same tokens."""

    def __init__(self, task: DistillTask) -> None:
        super().__init__(task)
        self._teacher = task.teacher

    def layer(self, preparation: Preparation) -> Layer:
        """Returns packed samples; DataError (ZT691) when a token means something else to the teacher."""
        assert preparation.tokenizer is not None, "a task on text without a tokenizer is refused before"
        known = _teachers_entries(self._teacher)
        if known is None:
            preparation.say("the teacher has no tokenizer to compare with")
        else:
            own = Tokenizer.from_file(str(preparation.tokenizer.path / TOKENIZER_FILE))
            _refuse_others(own.get_vocab(with_added_tokens=True), known, self._teacher.pretrained)
        return super().layer(preparation)


def _teachers_entries(teacher: TeacherSpec) -> dict[str, int] | None:
    """Returns the teacher's tokens and their numbers; None when it comes without a tokenizer."""
    folder = Path(teacher.pretrained)
    if folder.is_dir() and not (folder / TOKENIZER_FILE).is_file():
        return None
    wanted = PretrainedTokenizer(type="pretrained", path=teacher.pretrained, revision=teacher.revision)
    try:
        found = find_pretrained(wanted, None)
    except DataError:
        return None
    return Tokenizer.from_str(found.files[TOKENIZER_FILE].decode()).get_vocab(with_added_tokens=True)


def _refuse_others(own: dict[str, int], teachers: dict[str, int], name: str) -> None:
    others = sorted((number, token) for token, number in own.items() if teachers.get(token) != number)
    if not others:
        return
    number, token = others[0]
    message = f"{len(others)} of {len(own)} tokens have another number, or none, for the teacher: `{token}` ({number})"
    help = f"use the teacher's tokenizer: `{{type: pretrained, path: {name}}}`"
    raise DataError(error("ZT691", "other-vocabulary", message, help=help, key="data.tokenizer"))
