"""Documents of plain text, whose every token is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zerotrain.data.cache import Layer
from zerotrain.data.forms.base import Preparation, text_of
from zerotrain.data.sources.record import Fault, Record
from zerotrain.data.stores.masked import masked_layer
from zerotrain.data.stores.packed import samples_layer
from zerotrain.data.stores.tokens import tokens_layer
from zerotrain.diagnostic import error
from zerotrain.errors import DataError
from zerotrain.spec.task import MaskedLmTask, TaskSpec


class TextForm:
    """Next-token prediction: a record has `text`."""

    labels = ()

    def __init__(self, task: TaskSpec) -> None:
        self._task = task

    def read(self, record: Record) -> Mapping[str, Any] | Fault:
        """Returns the text of a document that is not empty."""
        text = text_of(record, "text")
        return text if isinstance(text, Fault) else {"text": text}

    def settle(self) -> None:
        """Does nothing: nothing is learned from the data but the tokenizer."""

    def texts(self, example: Mapping[str, Any]) -> Iterator[str]:
        """Yields the document."""
        yield example["text"]

    def layer(self, preparation: Preparation) -> Layer:
        """Returns packed samples; DataError (ZT603) when the tokenizer makes no token of any document."""
        root, data, say = preparation.root, preparation.data, preparation.say
        return samples_layer(root, data, self._tokens(preparation), preparation.tokenizer_facts, say)

    def _tokens(self, preparation: Preparation) -> Layer:
        root, corpus, say = preparation.root, preparation.corpus, preparation.say
        assert preparation.tokenizer is not None, "a task on text without a tokenizer is refused before"
        tokens = tokens_layer(root, corpus, preparation.tokenizer, say)
        if not tokens.facts["documents"]:
            fact = f"the tokenizer makes no token of any document in `{corpus.key}`"
            way_out = "use text with more than white space in it, or another tokenizer"
            raise DataError(error("ZT603", "empty-data", fact, help=way_out, key=corpus.key))
        return tokens


class MaskedTextForm(TextForm):
    """Masked language modelling: a record has `text`."""

    def __init__(self, task: MaskedLmTask) -> None:
        super().__init__(task)
        self._masked = task

    def layer(self, preparation: Preparation) -> Layer:
        """Returns samples some of whose tokens are hidden when they are read."""
        assert preparation.tokenizer is not None, "a task on text without a tokenizer is refused before"
        root, data, say = preparation.root, preparation.data, preparation.say
        return masked_layer(root, data, self._masked, self._tokens(preparation), preparation.tokenizer, say)
