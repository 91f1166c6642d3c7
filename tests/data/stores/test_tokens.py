"""A corpus as one flat file of tokens."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from zerotrain.data.cache import Layer
from zerotrain.data.corpus import Corpus, scan
from zerotrain.data.forms.text import TextForm
from zerotrain.data.pretrained import find_pretrained
from zerotrain.data.stores import tokens as module
from zerotrain.data.stores.tokens import token_dtype, tokens_layer
from zerotrain.data.tokenizer import OWN_TOKENIZERS, Own, pretrained_layer
from zerotrain.spec.data import BytesTokenizer, PretrainedTokenizer
from zerotrain.spec.sources import TextSource
from zerotrain.spec.task import PretrainTask

TEXT = TextForm(PretrainTask())


def corpus_of(folder: Path, *texts: str) -> Corpus:
    folder.mkdir(exist_ok=True)
    for number, text in enumerate(texts):
        (folder / f"{number:03}.txt").write_bytes(text.encode())
    return scan([TextSource(type="text", path=str(folder / "*.txt"))], "data.train", TEXT, [], print)


def bytes_of(layer: Layer) -> list[list[int]]:
    """The tokens of each document."""
    tokens = np.fromfile(layer.path / "tokens.bin", layer.facts["dtype"])
    offsets = np.load(layer.path / "documents.npy")
    assert len(tokens) == offsets[-1] == layer.facts["tokens"]
    return [tokens[begin:end].tolist() for begin, end in pairwise(offsets)]


def tokenized(root: Path, corpus: Corpus) -> Layer:
    tokenizer = OWN_TOKENIZERS["bytes"](root, BytesTokenizer(type="bytes"), corpus, Own(), print)
    return tokens_layer(root, corpus, tokenizer, lambda line: None)


def word_tokenizer(folder: Path, root: Path, vocabulary: dict[str, int]) -> Layer:
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "end"}))
    return pretrained_layer(
        root, find_pretrained(PretrainedTokenizer(type="pretrained", path=str(folder)), None), print
    )


def test_every_document_is_its_tokens_and_the_end_of_text_token(tmp_path: Path):
    texts = ["one", "", "zwei ü", "\n"]
    layer = tokenized(tmp_path / "cache", corpus_of(tmp_path / "data", *texts))

    assert bytes_of(layer) == [[*text.encode(), 256] for text in texts if text]
    assert layer.facts == {"dtype": "uint16", "tokens": 3 + 7 + 1 + 3, "documents": 3}


def test_batches_and_pieces_do_not_show_in_the_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    texts = ["word " * 200_000, "short", "x" * 600_000, "end"]
    monkeypatch.setattr(module, "_BATCH", 300_000)
    layer = tokenized(tmp_path / "cache", corpus_of(tmp_path / "data", *texts))

    assert bytes_of(layer) == [[*text.encode(), 256] for text in texts]


def test_a_document_that_has_no_tokens_is_left_out(tmp_path: Path):
    tokenizer = word_tokenizer(tmp_path / "words", tmp_path / "cache", {"?": 0, "end": 1, "a": 2, "b": 3})
    corpus = corpus_of(tmp_path / "data", "a b", "  \n ", "b")

    assert bytes_of(tokens_layer(tmp_path / "cache", corpus, tokenizer, print)) == [[2, 3, 1], [3, 1]]


def test_a_large_vocabulary_takes_four_bytes_for_a_token(tmp_path: Path):
    tokenizer = word_tokenizer(tmp_path / "words", tmp_path / "cache", {"?": 0, "end": 1, "a": 70_000})
    layer = tokens_layer(tmp_path / "cache", corpus_of(tmp_path / "data", "a a"), tokenizer, print)

    assert tokenizer.facts["vocab_size"] == 70_001
    assert bytes_of(layer) == [[70_000, 70_000, 1]]


@pytest.mark.parametrize(("vocab_size", "dtype"), [(257, "uint16"), (65_536, "uint16"), (65_537, "uint32")])
def test_the_smallest_type_that_holds_the_vocabulary_is_taken(vocab_size: int, dtype: str):
    assert token_dtype(vocab_size).name == dtype
