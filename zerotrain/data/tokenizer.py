"""Tokenizers: trained on the text, made of bytes, or taken from a folder; always kept as a `tokenizer.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from zerotrain.compile.vocabulary import CHATML, CLASSIFY, END_OF_TEXT, MASK, SEPARATE, TURN_ENDS
from zerotrain.data.cache import Layer, Say, obtain
from zerotrain.data.corpus import Corpus
from zerotrain.data.pretrained import CONFIG_FILE, TOKENIZER_FILE, Pretrained, unbounded
from zerotrain.spec.data import BpeTokenizer, BytesTokenizer
from zerotrain.units import format_bytes

_UNLIMITED = int(1e30)  # what transformers itself writes for a tokenizer without a limit
_PIECE = 1 << 18
_CUT = re.compile(r"(?<=\S)[ \n]")


@dataclass(frozen=True)
class TokenizerFacts:
    """What the rest of preparation needs to know of a tokenizer."""

    fingerprint: str
    vocab_size: int
    """Largest token id plus one."""
    eos_token_id: int
    pad_token_id: int
    splittable: bool
    """A text may be cut before a space or a newline that follows something else, and gives the same tokens."""
    cls_token_id: int | None = None
    """Stands before a text, in tokenizers for encoders."""
    sep_token_id: int | None = None
    """Stands behind a text, in tokenizers for encoders."""
    mask_token_id: int | None = None
    """Stands for a token that is hidden."""


@dataclass(frozen=True)
class Own:
    """What a tokenizer of our making is told besides the text."""

    special_tokens: tuple[str, ...] = (END_OF_TEXT,)
    """Entries that are not text, the end of a text first."""
    max_positions: int | None = None
    """The limit that it tells transformers."""


class Encoder:
    """A tokenizer that turns plain text into token ids; nothing in a text stands for a special token."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = unbounded(Tokenizer.from_file(str(folder / TOKENIZER_FILE)))
        self._tokenizer.encode_special_tokens = True

    def encode(self, texts: Sequence[str]) -> list[npt.NDArray[np.int64]]:
        """Returns the token ids of each text, without special tokens."""
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [np.asarray(encoding.ids, dtype=np.int64) for encoding in encodings]


class PairEncoder:
    """A tokenizer that puts one or two texts into a sequence with its special tokens, cut to a length."""

    def __init__(self, folder: Path, length: int) -> None:
        self._tokenizer = unbounded(Tokenizer.from_file(str(folder / TOKENIZER_FILE)))
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.enable_truncation(length, strategy="longest_first")

    def encode(self, texts: Sequence[tuple[str, str | None]]) -> list[Encoding]:
        """Returns `ids`, `type_ids` (0 for the first text, 1 for the second) and what was cut off of each."""
        inputs: Any = [text if pair is None else (text, pair) for text, pair in texts]
        return self._tokenizer.encode_batch(inputs, add_special_tokens=True)


def pieces(text: str) -> Iterator[str]:
    """Yields the text in pieces of about 256K characters, cut where a byte-level tokenizer never joins characters.

    Pieces keep memory small and all cores busy when a document is large. Its rules never join a space or a newline
    to what stands before it, so the tokens of the pieces are the tokens of the text.
    """
    begin = 0
    while match := _CUT.search(text, begin + _PIECE):
        yield text[begin : match.start()]
        begin = match.start()
    yield text[begin:]


def bpe_layer(root: Path, spec: BpeTokenizer, corpus: Corpus, own: Own, say: Say) -> Layer:
    """Returns the tokenizer trained on the corpus."""
    specials = list(own.special_tokens)
    key = {"tokenizers": version("tokenizers"), "text": corpus.digest, "vocab_size": spec.vocab_size}
    key |= {"special_tokens": specials}
    trained = obtain(
        root, "vocabulary", key, lambda folder: _train(folder, spec.vocab_size, specials, corpus, say), say
    )
    text = (trained.path / TOKENIZER_FILE).read_text(encoding="utf-8")
    return _own_layer(root, text, own, say)


def bytes_layer(root: Path, spec: BytesTokenizer, corpus: Corpus, own: Own, say: Say) -> Layer:
    """Returns the tokenizer whose ids are the 256 bytes, then 256 for the end of a text and what else a task needs."""
    tokenizer = _byte_level(models.BPE(vocab=_byte_vocabulary(), merges=[]), use_regex=False)
    tokenizer.add_special_tokens(list(own.special_tokens))
    return _own_layer(root, tokenizer.to_str(), own, say)


def pretrained_layer(root: Path, found: Pretrained, say: Say) -> Layer:
    """Returns the tokenizer that was found in a folder or on the hub, as it is."""

    def build(folder: Path) -> Mapping[str, Any]:
        for name, content in found.files.items():
            (folder / name).write_bytes(content)
        print_of = fingerprint(found.files[TOKENIZER_FILE], found.eos_token_id, found.pad_token_id)
        ends = found.eos_token_id, found.pad_token_id
        return asdict(TokenizerFacts(print_of, found.vocab_size, *ends, splittable=False, **found.encoder_ids))

    files = {name: blake2b(content, digest_size=16).hexdigest() for name, content in found.files.items()}
    return obtain(root, "tokenizer", {"tokenizers": version("tokenizers"), "files": files}, build, say)


def fingerprint(tokenizer_json: bytes, eos_token_id: int, pad_token_id: int) -> str:
    """Returns the identity of a mapping from text to tokens."""
    ids = f"{version('tokenizers')} {eos_token_id} {pad_token_id}\n".encode()
    return blake2b(ids + tokenizer_json, digest_size=16).hexdigest()


def _train(folder: Path, vocab_size: int, special_tokens: list[str], corpus: Corpus, say: Say) -> Mapping[str, Any]:
    say(f"training a tokenizer of {vocab_size} entries on {format_bytes(corpus.bytes)} of text")
    tokenizer = _byte_level(models.BPE(), use_regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((piece for text in corpus.texts() for piece in pieces(text)), trainer)
    found = tokenizer.get_vocab_size()
    if found < vocab_size:
        say(f"the text has no more than {found} entries of the {vocab_size} that were asked for")
    (folder / TOKENIZER_FILE).write_text(tokenizer.to_str(), encoding="utf-8")
    return {"vocab_size": found}


def _own_layer(root: Path, text: str, own: Own, say: Say) -> Layer:
    """Returns the folder of a tokenizer of our making; a limit of positions changes its configuration only."""

    def build(folder: Path) -> Mapping[str, Any]:
        tokenizer = Tokenizer.from_str(text)
        if CLASSIFY in own.special_tokens:
            tokenizer.post_processor = _wrapped(tokenizer)
        content = tokenizer.to_str().encode()
        end, pad = (tokenizer.get_vocab()[configuration[name]] for name in ("eos_token", "pad_token"))
        (folder / TOKENIZER_FILE).write_bytes(content)
        (folder / CONFIG_FILE).write_text(json.dumps(configuration, indent=2) + "\n")
        print_of = fingerprint(content, end, pad)
        names = {"cls_token_id": CLASSIFY, "sep_token_id": SEPARATE, "mask_token_id": MASK}
        encoder = {name: tokenizer.token_to_id(token) for name, token in names.items()}
        return asdict(TokenizerFacts(print_of, tokenizer.get_vocab_size(), end, pad, splittable=True, **encoder))

    configuration = _configuration(own)
    key = {"tokenizers": version("tokenizers"), "text": blake2b(text.encode()).hexdigest(), "limit": own.max_positions}
    key |= {"special_tokens": list(own.special_tokens), "template": configuration.get("chat_template")}
    return obtain(root, "tokenizer", key, build, say)


def _wrapped(tokenizer: Tokenizer) -> Any:
    """Returns what puts BERT's special tokens around one text or two."""
    single, pair = f"{CLASSIFY} $A {SEPARATE}", f"{CLASSIFY} $A {SEPARATE} $B:1 {SEPARATE}:1"
    known = [(token, tokenizer.token_to_id(token)) for token in (CLASSIFY, SEPARATE)]
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=known)


def _configuration(own: Own) -> dict[str, Any]:
    """Returns what transformers needs to know; there is no unknown token, because every byte has an entry.

    In a chat the end of a turn is the end that generation stops at.
    """
    chat = {"eos_token": TURN_ENDS, "chat_template": CHATML}
    encoder = {"cls_token": CLASSIFY, "sep_token": SEPARATE, "mask_token": MASK}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        **(encoder if CLASSIFY in own.special_tokens else {}),
        **(chat if TURN_ENDS in own.special_tokens else {}),
        "clean_up_tokenization_spaces": False,
        "model_max_length": own.max_positions or _UNLIMITED,
    }


def _byte_level(model: models.Model, *, use_regex: bool) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _byte_vocabulary() -> dict[str, int]:
    """Returns byte-level BPE's character for each byte: printable Latin-1 is itself, the rest in order."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    itself = {character: ord(character) for character in alphabet if ord(character) < 256}
    others = (byte for byte in range(256) if byte not in itself.values())
    return itself | dict(zip(alphabet[len(itself) :], others, strict=True))


Builder = Callable[[Path, Any, Corpus, Own, Say], Layer]

OWN_TOKENIZERS: Mapping[str, Builder] = {"bpe": bpe_layer, "bytes": bytes_layer}
