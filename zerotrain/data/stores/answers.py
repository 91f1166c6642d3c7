"""Dialogues as one flat file of tokens, beside it which of them are trained."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zerotrain.data.cache import Facts, Layer, digest, obtain
from zerotrain.data.corpus import Example, Faults, refused
from zerotrain.data.dialogue import DialogueEncoder, Encoded, Turns
from zerotrain.data.forms.base import Preparation
from zerotrain.data.pretrained import CONFIG_FILE
from zerotrain.data.sources.record import Fault
from zerotrain.data.stores.tokens import DOCUMENTS_FILE, TOKENS_FILE, TRAINED_FILE, token_dtype
from zerotrain.diagnostic import error
from zerotrain.errors import DataError
from zerotrain.spec.task import TooLong

Dialogue = tuple[str | Turns, str | Turns]
"""What is asked, and what is answered."""


@dataclass(frozen=True)
class Treatment:
    """What becomes of the tokens of a dialogue."""

    limit: int
    """Most tokens of a sequence."""
    too_long: TooLong
    train_on: Literal["answers", "all"] = "answers"


def answers_layer(
    preparation: Preparation,
    kind: str,
    dialogues_of: Callable[[Example], Sequence[Dialogue]],
    treatment: Treatment,
    facts: Mapping[str, Any] | None = None,
) -> Layer:
    """Returns the dialogues of all records: `tokens.bin`, `trained.bin` and `documents.npy`.

    A record is used whole, all its dialogues, or not at all. Raises DataError for records that cannot be used, unless
    `data.bad_samples` is `skip`; when there is no chat template (ZT650); and when nothing is left (ZT603).
    """
    assert preparation.tokenizer is not None, "a task on text without a tokenizer is refused before"
    known, folder = preparation.tokenizer_facts, preparation.tokenizer.path
    key = {"records": preparation.corpus.digest, "tokenizer": known.fingerprint, **asdict(treatment)}
    key |= {"configuration": _configuration(folder), "bad_samples": preparation.data.bad_samples, **(facts or {})}

    def build(target: Path) -> Facts:
        encoder = DialogueEncoder(folder, known.eos_token_id)
        writing = _Writing(preparation, encoder, treatment)
        return {**writing.write(target, dialogues_of), **(facts or {})}

    return obtain(preparation.root, kind, key, build, preparation.say)


class _Writing:
    """One pass over the records of a corpus."""

    def __init__(self, preparation: Preparation, encoder: DialogueEncoder, treatment: Treatment) -> None:
        self._preparation, self._encoder, self._treatment = preparation, encoder, treatment
        self._faults = Faults()
        self._cut = 0

    def write(self, folder: Path, dialogues_of: Callable[[Example], Sequence[Dialogue]]) -> Facts:
        """Writes the files, and returns what is known of them."""
        corpus, say = self._preparation.corpus, self._preparation.say
        say(f"tokenizing {corpus.documents:,} {'record' if corpus.documents == 1 else 'records'}")
        dtype = token_dtype(self._preparation.tokenizer_facts.vocab_size)
        offsets, records = array("q", [0]), 0
        with (folder / TOKENS_FILE).open("wb") as tokens, (folder / TRAINED_FILE).open("wb") as trained:
            for dialogues in self._sound(dialogues_of):
                records += 1
                for encoded in dialogues:
                    tokens.write(np.asarray(encoded.ids, dtype).tobytes())
                    trained.write(np.asarray(encoded.is_answer, np.bool_).tobytes())
                    offsets.append(offsets[-1] + len(encoded.ids))
        self._tell(records)
        np.save(folder / DOCUMENTS_FILE, np.frombuffer(offsets, np.int64))
        counts = {"tokens": offsets[-1], "documents": len(offsets) - 1, "records": records}
        return {**counts, "dtype": dtype.name, "masked": True, "skipped": sum(self._faults.counts.values())}

    def _sound(self, dialogues_of: Callable[[Example], Sequence[Dialogue]]) -> Iterator[Sequence[Encoded]]:
        """Yields the dialogues of each record that is of use, and counts the others."""
        for name, example in self._preparation.corpus.named():
            found = [self._fitting(self._encoder.encode(*dialogue)) for dialogue in dialogues_of(example)]
            fault = next((each for each in found if isinstance(each, Fault)), None)
            if fault is not None:
                self._faults.add(name, fault)
            else:
                yield [each for each in found if isinstance(each, Encoded)]

    def _fitting(self, encoded: Encoded | Fault) -> Encoded | Fault:
        if isinstance(encoded, Fault):
            return encoded
        limit, length = self._treatment.limit, len(encoded.ids)
        if length > limit and self._treatment.too_long != "cut":
            return Fault("ZT656", "overlong-record", f"has {length:,} tokens, more than {limit:,}")
        is_answer = encoded.is_answer if self._treatment.train_on == "answers" else [True] * length
        self._cut += length > limit
        if not any(is_answer[1:limit]):
            beginning = f"the first {limit:,} of its {length:,} tokens" if length > limit else "its tokens"
            return Fault("ZT657", "untrained-record", f"has no answer in {beginning}")
        return Encoded(encoded.ids[:limit], is_answer[:limit])

    def _tell(self, records: int) -> None:
        """Says what was left out or cut; raises DataError for what is refused, and when nothing is left."""
        data, key, say = self._preparation.data, self._preparation.corpus.key, self._preparation.say
        dropped = {"ZT656"} if self._treatment.too_long == "drop" else set[str]()
        problems = refused(self._faults, key, skip=data.bad_samples == "skip", skipped=dropped)
        if problems:
            raise DataError(*problems)
        for code in self._faults.counts:
            say(f"warning {code} {self._faults.name(code)}: {self._faults.message(code, key, 'left out')}")
        if self._cut:
            limit = self._treatment.limit
            noun = "sequence" if self._cut == 1 else "sequences"
            say(f"{self._cut:,} {noun} of `{key}` {'was' if self._cut == 1 else 'were'} cut to {limit:,} tokens")
        if not records:
            message = f"no record of `{key}` is left"
            raise DataError(error("ZT603", "empty-data", message, help="raise `data.seq_len`", key=key))


def _configuration(folder: Path) -> str:
    """Returns the identity of what decides how messages become text."""
    files = (folder / CONFIG_FILE, folder / "chat_template.jinja")
    return digest([file.read_text(encoding="utf-8") if file.is_file() else None for file in files])
