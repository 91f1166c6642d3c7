"""Tokenizers of our own making."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from zerotrain.data import tokenizer as module
from zerotrain.data.cache import Layer
from zerotrain.data.corpus import scan
from zerotrain.data.forms.text import TextForm
from zerotrain.data.tokenizer import END_OF_TEXT, OWN_TOKENIZERS, Encoder, Own, TokenizerFacts, pieces
from zerotrain.spec.data import BpeTokenizer, BytesTokenizer
from zerotrain.spec.sources import PythonStdlibSource
from zerotrain.spec.task import PretrainTask

SOURCES = [PythonStdlibSource(type="python_stdlib", max_documents=40)]
SPECS = {"bpe": BpeTokenizer(type="bpe", vocab_size=800), "bytes": BytesTokenizer(type="bytes")}
TEXTS = [
    "def f(x):\n\treturn  x",
    " leading",
    "trailing \n\n",
    "日本語 äöü 🙂",
    "\x00\x7f\u0085\u2028",
    "a<|endof|>b",
    "",
]

TRAIN = """
import sys
from pathlib import Path
from zerotrain.data.corpus import scan
from zerotrain.data.forms.text import TextForm
from zerotrain.data.tokenizer import OWN_TOKENIZERS, Own
from zerotrain.spec.data import BpeTokenizer
from zerotrain.spec.sources import PythonStdlibSource
from zerotrain.spec.task import PretrainTask

TEXT = TextForm(PretrainTask())

corpus = scan([PythonStdlibSource(type="python_stdlib", max_documents=40)], "data.train", TEXT, [], print)
spec = BpeTokenizer(type="bpe", vocab_size=800)
print(OWN_TOKENIZERS["bpe"](Path(sys.argv[1]), spec, corpus, Own(), lambda line: None).facts["fingerprint"])
"""

TEXT = TextForm(PretrainTask())


def make(kind: str, root: Path, max_positions: int | None = None) -> Layer:
    corpus = scan(SOURCES, "data.train", TEXT, [], print)
    return OWN_TOKENIZERS[kind](root, SPECS[kind], corpus, Own(max_positions=max_positions), lambda line: None)


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Layer]:
    return {kind: make(kind, tmp_path_factory.mktemp("cache")) for kind in SPECS}


def read(layer: Layer) -> Tokenizer:
    return Tokenizer.from_file(str(layer.path / "tokenizer.json"))


def test_facts_are_those_of_the_file(layers: dict[str, Layer]):
    for kind, size, end in (("bpe", 800, 0), ("bytes", 257, 256)):
        facts = TokenizerFacts(**layers[kind].facts)
        assert (facts.vocab_size, facts.eos_token_id, facts.pad_token_id) == (size, end, end)
        assert read(layers[kind]).token_to_id(END_OF_TEXT) == end


def test_a_byte_is_its_own_token(layers: dict[str, Layer]):
    (ids,) = Encoder(layers["bytes"].path).encode(["héllo\n\x00 日"])

    assert bytes(ids.tolist()) == "héllo\n\x00 日".encode()


@pytest.mark.parametrize("kind", SPECS)
@given(text=st.text())
@settings(deadline=None)
def test_any_text_comes_back(layers: dict[str, Layer], kind: str, text: str):
    tokenizer = read(layers[kind])
    (ids,) = Encoder(layers[kind].path).encode([text])

    assert tokenizer.decode(ids.tolist(), skip_special_tokens=False) == text
    assert TokenizerFacts(**layers[kind].facts).eos_token_id not in ids


@pytest.mark.parametrize("kind", SPECS)
def test_the_name_of_the_end_of_text_token_is_text_when_it_stands_in_text(layers: dict[str, Layer], kind: str):
    text = f"before {END_OF_TEXT} after"
    (ids,) = Encoder(layers[kind].path).encode([text])

    assert TokenizerFacts(**layers[kind].facts).eos_token_id not in ids
    assert read(layers[kind]).decode(ids.tolist(), skip_special_tokens=False) == text


@pytest.mark.parametrize("kind", SPECS)
def test_transformers_reads_the_folder_and_encodes_the_same(layers: dict[str, Layer], kind: str):
    theirs = AutoTokenizer.from_pretrained(layers[kind].path)

    for text in [*TEXTS, Path(pytest.__file__).read_text()]:
        (ids,) = Encoder(layers[kind].path).encode([text])
        assert theirs(text)["input_ids"] == ids.tolist()
        assert theirs.decode(ids.tolist()) == text
    end = layers[kind].facts["eos_token_id"]
    assert (theirs.eos_token_id, theirs.pad_token_id, theirs.bos_token_id, theirs.unk_token) == (end, end, end, None)
    assert len(theirs) == layers[kind].facts["vocab_size"]


def test_the_limit_of_positions_is_told_to_transformers_and_trains_nothing_again(tmp_path: Path):
    lines: list[str] = []
    corpus = scan(SOURCES, "data.train", TEXT, [], print)
    limited = [
        OWN_TOKENIZERS["bpe"](tmp_path, SPECS["bpe"], corpus, Own(max_positions=limit), lines.append)
        for limit in (None, 512)
    ]

    sizes = [json.loads((layer.path / "tokenizer_config.json").read_text())["model_max_length"] for layer in limited]
    assert sizes == [int(1e30), 512]
    assert limited[0].facts == limited[1].facts
    assert len([line for line in lines if line.startswith("training a tokenizer of 800 entries on ")]) == 1


def test_training_gives_the_same_tokenizer_in_every_process(tmp_path: Path, layers: dict[str, Layer]):
    runs = [
        subprocess.run(
            [sys.executable, "-c", TRAIN, str(tmp_path / threads)],
            env={"RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads},
            check=True,
            capture_output=True,
            text=True,
        )
        for threads in ("1", "3")
    ]

    assert {run.stdout.strip() for run in runs} == {layers["bpe"].facts["fingerprint"]}


def test_a_text_too_small_for_the_vocabulary_is_said(tmp_path: Path):
    lines: list[str] = []
    sources = [PythonStdlibSource(type="python_stdlib", max_documents=1)]
    corpus = scan(sources, "data.train", TEXT, [], print)
    layer = OWN_TOKENIZERS["bpe"](tmp_path, BpeTokenizer(type="bpe", vocab_size=60_000), corpus, Own(), lines.append)

    size = layer.facts["vocab_size"]
    assert 257 <= size < 60_000
    assert lines[-1] == f"the text has no more than {size} entries of the 60000 that were asked for"


@pytest.mark.parametrize("kind", SPECS)
@given(
    text=st.text(alphabet=st.sampled_from("ab'sé .,\n\t\r\x1c\u00a0\u2028日1<|"), max_size=200), size=st.integers(1, 9)
)
@settings(deadline=None)
def test_pieces_have_the_tokens_of_the_whole(layers: dict[str, Layer], kind: str, text: str, size: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIECE", size)
        parts = list(pieces(text))
    whole, *encoded = Encoder(layers[kind].path).encode([text, *parts])

    assert "".join(parts) == text
    assert [token for ids in encoded for token in ids.tolist()] == whole.tolist()


def test_a_large_text_is_cut_into_pieces_of_bounded_size():
    parts = list(pieces("some words and more\n" * 100_000))

    assert len(parts) == 8
    assert max(map(len, parts)) < 263_000
    assert list(pieces("")) == [""]
    assert len(list(pieces("x" * 1_000_000))) == 1
