"""Chats, of which the answers are trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zerotrain.data.cache import Layer
from zerotrain.data.corpus import Example
from zerotrain.data.forms.base import Preparation, missing_column
from zerotrain.data.forms.messages import contents, messages_of, of_one_kind, side_of, unanswered
from zerotrain.data.sources.record import Fault, Record
from zerotrain.data.stores.answers import Dialogue, Treatment, answers_layer
from zerotrain.data.stores.packed import samples_layer
from zerotrain.data.stores.tokens import TOKENS_KIND
from zerotrain.spec.task import SftTask


class ChatForm:
    """Supervised fine-tuning: a record has `messages`, or `prompt` and `completion`."""

    labels = ()

    def __init__(self, task: SftTask) -> None:
        self._task = task

    def read(self, record: Record) -> Mapping[str, Any] | Fault:
        """Returns the messages, or what is asked and what is answered."""
        if "messages" in record.fields:
            messages = messages_of(record, "messages")
            if isinstance(messages, Fault):
                return messages
            return unanswered("messages", messages) or {"prompt": [], "completion": messages}
        if "prompt" not in record.fields:
            return missing_column(record, "messages")
        prompt, completion = side_of(record, "prompt"), side_of(record, "completion")
        if isinstance(prompt, Fault) or isinstance(completion, Fault):
            return prompt if isinstance(prompt, Fault) else completion  # type: ignore[return-value]
        fault = of_one_kind(("prompt", prompt), ("completion", completion)) or unanswered("completion", completion)
        return fault or {"prompt": prompt, "completion": completion}

    def settle(self) -> None:
        """Does nothing: nothing is learned from the data but the tokenizer."""

    def texts(self, example: Mapping[str, Any]) -> Iterator[str]:
        """Yields what everyone says."""
        yield from contents(example["prompt"])
        yield from contents(example["completion"])

    def layer(self, preparation: Preparation) -> Layer:
        """Returns packed samples; DataError for what cannot be made tokens of."""
        length = preparation.data.seq_len
        assert length is not None, "a task on text without a length is refused before"
        # The last token of a sample is predicted, and never an input.
        treatment = Treatment(length + 1, self._task.too_long, self._task.train_on)
        tokens = answers_layer(preparation, TOKENS_KIND, _dialogues, treatment)
        return samples_layer(preparation.root, preparation.data, tokens, preparation.tokenizer_facts, preparation.say)


def _dialogues(example: Example) -> list[Dialogue]:
    return [(example["prompt"], example["completion"])]
