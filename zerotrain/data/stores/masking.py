"""Which tokens of a sample are hidden from a masked language model, and what it sees in their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from zerotrain.data.stores.base import IGNORED, Int64s
from zerotrain.data.tokenizer import TokenizerFacts
from zerotrain.diagnostic import error
from zerotrain.errors import DataError
from zerotrain.spec.task import MaskedLmTask

Flags = npt.NDArray[np.bool_]
"""By token id."""

_KEY = "data.tokenizer"
_SPACES = ("\u2581", "\u0120", "\u010a", "\u0109", "\u010d")
"""How SentencePiece writes a space, and byte-level BPE a space, a newline, a tab and a carriage return."""


@dataclass(frozen=True)
class Masking:
    """How tokens are hidden; everything random is a pure function of a sample's draw."""

    mask_probability: float
    mask_share: float
    random_share: float
    whole_word: bool
    mask_token_id: int
    special: Flags
    """Tokens that are never hidden, and never stand for another."""
    begins_word: Flags
    ordinary: Int64s
    """Ids of the other tokens."""

    @classmethod
    def of(cls, settings: Mapping[str, Any], special: Flags, begins_word: Flags) -> Masking:
        """Returns the masking with the settings that `masking_of` returned."""
        special, begins_word = np.array(special), np.array(begins_word)
        return cls(**settings, special=special, begins_word=begins_word, ordinary=np.flatnonzero(~special))

    def number(self, maskable: Int64s) -> Int64s:
        """Returns how many of so many tokens are hidden: their share, rounded, and at least one where there is one."""
        share = np.rint(self.mask_probability * maskable).astype(np.int64)
        return np.minimum(maskable, np.maximum(1, share))

    def choose(self, ids: Int64s, draw: int) -> Int64s:
        """Returns the places that are hidden, in order; of whole words just enough to reach the number."""
        return self._chosen(ids, np.random.Generator(np.random.Philox(key=draw)))

    def hide(self, ids: Int64s, draw: int) -> tuple[Int64s, Int64s]:
        """Returns what the model sees of the ids [length], and the labels: the token that is hidden, or -100."""
        random = np.random.Generator(np.random.Philox(key=draw))
        chosen = self._chosen(ids, random)
        fates, others = random.random(len(chosen)), random.integers(len(self.ordinary), size=len(chosen))
        seen, labels = ids.copy(), np.full(len(ids), IGNORED, np.int64)
        labels[chosen] = ids[chosen]
        replaced = fates < self.mask_share + self.random_share
        seen[chosen[replaced]] = self.ordinary[others[replaced]]
        seen[chosen[fates < self.mask_share]] = self.mask_token_id
        return seen, labels

    def _chosen(self, ids: Int64s, random: np.random.Generator) -> Int64s:
        places = np.flatnonzero(~self.special[ids])
        number = int(self.number(np.array(len(places))))
        if not number or not self.whole_word:
            order = np.argsort(random.random(len(places)), kind="stable")
            return np.sort(places[order[:number]])
        words = np.cumsum(self.begins_word[ids[places]] | (np.diff(places, prepend=-2) > 1)) - 1
        sizes = np.bincount(words)
        order = np.argsort(random.random(len(sizes)), kind="stable")
        enough = np.searchsorted(np.cumsum(sizes[order]), number) + 1
        return places[np.isin(words, order[:enough])]


def masking_of(task: MaskedLmTask, vocabulary: Tokenizer, facts: TokenizerFacts) -> tuple[dict[str, Any], Flags, Flags]:
    """Returns the settings of a masking, which tokens are special and which begin a word, by id.

    Raises DataError: ZT672 when the tokenizer lacks a special token, ZT673 when it marks no words and they are needed.
    """
    needed = {"cls_token": facts.cls_token_id, "sep_token": facts.sep_token_id, "mask_token": facts.mask_token_id}
    missing = [f"`{name}`" for name, number in needed.items() if number is None]
    if missing:
        fact = f"the tokenizer has no {' and no '.join(missing)}"
        help = "use the tokenizer of a masked language model, or one of our making: `{type: bpe}`"
        raise DataError(error("ZT672", "no-mask-token", fact, help=help, key=_KEY))
    begins_word = _begins_word(vocabulary, facts.vocab_size)
    if task.whole_word and begins_word.all():
        fact = "the tokenizer does not mark where words begin, so whole words cannot be hidden"
        help = "set `task.whole_word: false`, or use a tokenizer with `##`, `\u2581` or byte-level spaces"
        raise DataError(error("ZT673", "unmarked-words", fact, help=help, key=_KEY))
    names = ("mask_probability", "mask_share", "random_share", "whole_word")
    settings = {name: getattr(task, name) for name in names} | {"mask_token_id": facts.mask_token_id}
    return settings, _special(vocabulary, facts), begins_word


def _special(vocabulary: Tokenizer, facts: TokenizerFacts) -> Flags:
    """Returns which ids are special tokens, or none at all."""
    special = np.ones(facts.vocab_size, np.bool_)
    special[list(vocabulary.get_vocab(with_added_tokens=True).values())] = False
    special[[number for number, added in vocabulary.get_added_tokens_decoder().items() if added.special]] = True
    named = (facts.eos_token_id, facts.pad_token_id, facts.cls_token_id, facts.sep_token_id, facts.mask_token_id)
    special[[number for number in named if number is not None]] = True
    return special


def _begins_word(vocabulary: Tokenizer, size: int) -> Flags:
    """Returns which ids begin a word: in WordPiece those without a prefix, elsewhere those with a space in front."""
    tokens = vocabulary.get_vocab(with_added_tokens=True)
    prefix = getattr(vocabulary.model, "continuing_subword_prefix", None)
    begins = np.ones(size, np.bool_)
    for token, number in tokens.items():
        begins[number] = not token.startswith(prefix) if prefix else token.startswith(_SPACES)
    return begins if begins.any() else np.ones(size, np.bool_)
