"""A corpus as one flat file of tokens: each document, then the end-of-text token."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zerotrain.data.cache import Facts, Layer, Say, obtain
from zerotrain.data.corpus import Corpus
from zerotrain.data.tokenizer import Encoder, TokenizerFacts, pieces

TOKENS_KIND = "tokens"
TOKENS_FILE = "tokens.bin"
DOCUMENTS_FILE = "documents.npy"
TRAINED_FILE = "trained.bin"
"""One byte for each token, 1 where it is trained; only where not all are."""

_BATCH = 1 << 22
"""Characters that are encoded at once: enough for every core, little enough to hold."""


@dataclass(frozen=True)
class _Piece:
    text: str
    ends: bool
    """It is the last piece of its document."""


def tokens_layer(root: Path, corpus: Corpus, tokenizer: Layer, say: Say) -> Layer:
    """Returns the tokens of the corpus: `tokens.bin` (uint16 or uint32) and `documents.npy`.

    Document i is at `documents[i] : documents[i + 1]` of the tokens, its end-of-text token included; a document that
    has no tokens is left out. The document that reaches the corpus's `max_tokens` is the last.
    """
    facts = TokenizerFacts(**tokenizer.facts)

    def build(folder: Path) -> Facts:
        say(f"tokenizing {corpus.documents:,} {'document' if corpus.documents == 1 else 'documents'}")
        return _write(folder, corpus, Encoder(tokenizer.path), facts)

    key: dict[str, Any] = {"text": corpus.digest, "tokenizer": facts.fingerprint}
    if corpus.max_tokens is not None:
        key["max_tokens"] = corpus.max_tokens
    return obtain(root, TOKENS_KIND, key, build, say)


def token_dtype(vocab_size: int) -> np.dtype[np.unsignedinteger]:
    """Returns the smallest type that holds every token id."""
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)


def _write(folder: Path, corpus: Corpus, encoder: Encoder, facts: TokenizerFacts) -> Facts:
    dtype = token_dtype(facts.vocab_size)
    end = np.array([facts.eos_token_id], dtype).tobytes()
    offsets = array("q", [0])
    position = 0
    # Written, not mapped: on a full disk a write raises, a mapping kills the process.
    with (folder / TOKENS_FILE).open("wb") as file:
        for ids, ends in _encoded(corpus.texts(), encoder, splittable=facts.splittable):
            file.write(ids.astype(dtype).tobytes())
            position += len(ids)
            if ends and position > offsets[-1]:
                file.write(end)
                position += 1
                offsets.append(position)
                if corpus.max_tokens is not None and position >= corpus.max_tokens:
                    break
    np.save(folder / DOCUMENTS_FILE, np.frombuffer(offsets, dtype=np.int64))
    return {"dtype": dtype.name, "tokens": position, "documents": len(offsets) - 1}


def _encoded(
    texts: Iterable[str], encoder: Encoder, *, splittable: bool
) -> Iterator[tuple[npt.NDArray[np.int64], bool]]:
    for batch in _batches(_pieces(texts, splittable=splittable)):
        encoded = encoder.encode([piece.text for piece in batch])
        yield from zip(encoded, (piece.ends for piece in batch), strict=True)


def _pieces(texts: Iterable[str], *, splittable: bool) -> Iterator[_Piece]:
    for text in texts:
        *before, last = pieces(text) if splittable else [text]
        yield from (_Piece(piece, ends=False) for piece in before)
        yield _Piece(last, ends=True)


def _batches(found: Iterable[_Piece]) -> Iterator[list[_Piece]]:
    batch: list[_Piece] = []
    size = 0
    for piece in found:
        batch.append(piece)
        size += len(piece.text)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
