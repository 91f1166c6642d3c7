"""Two answers to a prompt, of which one is better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zerotrain.data.cache import Layer
from zerotrain.data.corpus import Example
from zerotrain.data.forms.base import Preparation
from zerotrain.data.forms.messages import Side, contents, of_one_kind, side_of, unanswered
from zerotrain.data.sources.record import Fault, Record
from zerotrain.data.stores.answers import Dialogue, Treatment
from zerotrain.data.stores.pairs import pairs_layer
from zerotrain.spec.task import DpoTask, RewardTask

_COLUMNS = ("prompt", "chosen", "rejected")


class PreferenceForm:
    """Preferences: a record has `prompt`, `chosen` and `rejected`."""

    labels = ()

    def __init__(self, task: DpoTask | RewardTask) -> None:
        self._task = task

    def read(self, record: Record) -> Mapping[str, Any] | Fault:
        """Returns what is asked, and both answers."""
        sides: dict[str, Side] = {}
        for column in _COLUMNS:
            side = side_of(record, column)
            if isinstance(side, Fault):
                return side
            sides[column] = side
        return self._fault_of(sides) or sides

    def settle(self) -> None:
        """Does nothing: nothing is learned from the data but the tokenizer."""

    def texts(self, example: Mapping[str, Any]) -> Iterator[str]:
        """Yields what everyone says."""
        for column in _COLUMNS:
            yield from contents(example[column])

    def layer(self, preparation: Preparation) -> Layer:
        """Returns pairs of sequences; DataError for what cannot be made tokens of."""
        length = preparation.data.seq_len
        assert length is not None, "a task on text without a length is refused before"
        return pairs_layer(preparation, _dialogues, Treatment(length, self._task.too_long))

    def _fault_of(self, sides: Mapping[str, Side]) -> Fault | None:
        mixed = of_one_kind(*sides.items())
        faults = [mixed, *(unanswered(column, sides[column]) for column in _COLUMNS[1:])]
        if sides["chosen"] == sides["rejected"]:
            faults.append(Fault("ZT662", "equal-answers", "has the same text in `chosen` and `rejected`"))
        return next((fault for fault in faults if fault), None)


def _dialogues(example: Example) -> list[Dialogue]:
    return [(example["prompt"], example[column]) for column in _COLUMNS[1:]]
