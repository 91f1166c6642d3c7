"""ZT6: data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]
Caret = Callable[[Diagnostic], str]

SHAPE = "hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, num_attention_heads: 4"


def data(seq_len: int = 32, tokenizer: str = "{type: bytes}") -> str:
    return f"{{train: [{{type: python_stdlib}}], tokenizer: {tokenizer}, seq_len: {seq_len}}}"


def test_zt610_samples_longer_than_the_model_takes(one: One, findings: Findings, caret: Caret) -> None:
    model = f"{{architecture: llama, config: {{{SHAPE}, max_position_embeddings: 64}}}}"
    finding = one(model=model, data=data(65))

    assert (finding.code, finding.name, finding.severity) == ("ZT610", "overlong-sequence", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("data.seq_len", "65")
    assert finding.message == "samples of 65 tokens are longer than the 64 positions of the model"
    assert findings(model=model, data=data(64)) == []


def test_zt611_fewer_embeddings_than_tokens(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(model=f"{{architecture: llama, config: {{{SHAPE}, vocab_size: 256}}}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT611", "small-vocabulary", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("model.config.vocab_size", "256")
    assert finding.message == "the model has 256 embeddings for 257 tokens"
    assert findings(model=f"{{architecture: llama, config: {{{SHAPE}, vocab_size: 257}}}}") == []


def test_zt611_looks_into_a_pretrained_model(one: One, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    config = {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "vocab_size": 300}
    (tmp_path / "weights" / "config.json").write_text(json.dumps(config))
    finding = one(model="{pretrained: ./weights}", data=data(tokenizer="{type: bpe, vocab_size: 301}"))

    assert (finding.code, finding.place.key) == ("ZT611", "model.config.vocab_size")


def test_zt612_a_tokenizer_without_a_name(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(data=data(tokenizer="{type: pretrained}"))

    assert (finding.code, finding.name, finding.severity) == ("ZT612", "tokenizer-without-path", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("data.tokenizer", "{type: pretrained}")
    assert findings(data=data(tokenizer="{type: pretrained, path: org/name}")) == []
    assert findings(data=data(tokenizer="{type: pretrained}"), model="{pretrained: org/name}") == []


@pytest.mark.parametrize(
    ("missing", "fact"),
    [
        ("seq_len: 32", "no `tokenizer` says how text becomes tokens"),
        ("tokenizer: {type: bytes}", "no `seq_len` says how many tokens a sample has"),
    ],
)
def test_zt617_text_needs_a_tokenizer_and_a_length(one: One, findings: Findings, missing: str, fact: str) -> None:
    finding = one(data=f"{{train: [{{type: python_stdlib}}], {missing}}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT617", "text-without-tokenizer", Severity.ERROR)
    assert (finding.place.key, finding.message) == ("data", fact)
    assert findings(data=data()) == []


def test_zt618_images_have_no_tokens(one: One, findings: Findings) -> None:
    images = {"task": "{type: image_classification}", "model": "{architecture: resnet}"}
    finding = one(**images, data="{train: [{type: sklearn_digits}], image: {size: 8}}", horizon="1000 tokens")

    assert (finding.code, finding.name, finding.place.key) == ("ZT618", "tokens-of-images", "horizon")
    assert finding.message == "`1000 tokens` is a number of tokens, but images have none"
    assert findings(**images, data="{train: [{type: sklearn_digits}], image: {size: 8}}", horizon="2 epochs") == []
