"""What is trained, on which task, from which data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zerotrain.spec.base import Auto, Pattern, PositiveInt, RawKeys, Spec


class ModelSpec(Spec):
    """The model: an architecture trained from scratch, or weights to start from."""

    architecture: str | None = None
    """A transformers `model_type` to train from scratch: `llama`, `qwen3`, `gpt2`, …"""
    config: RawKeys = {}
    """Keys of that architecture's `config.json`; what is not given has the architecture's own default."""
    pretrained: str | None = None
    """A folder or hub id with weights to start from, instead of `architecture`."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    attention: Literal["sdpa", "flash_attention_2", "eager"] = "sdpa"
    """The attention implementation."""
    freeze: list[Pattern] = []
    """Parameters that stay as they are: regular expressions, searched in names such as `model.embed_tokens.weight`."""
    adapter: None = None
    """Low-rank adapters; `null` trains all weights."""


class PretrainTask(Spec):
    """Predict the next token of text."""

    type: Literal["pretrain"] = "pretrain"


TaskSpec = PretrainTask


class PythonStdlibSource(Spec):
    """The source code of the interpreter's own standard library, without its tests: real text on every machine."""

    type: Literal["python_stdlib"]
    split: Literal["train", "validation", "all"] = "train"
    """One file in twenty, chosen by the hash of its path, is `validation`; the rest is `train`."""
    max_documents: PositiveInt | None = None
    """Read only this many files, in the order of their paths' hashes."""


class TextSource(Spec):
    """Plain UTF-8 text files, one document each."""

    type: Literal["text"]
    path: str
    """A file, or a pattern such as `corpus/**/*.txt`; relative to the directory the command runs in."""
    split: Literal["train", "validation", "all"] = "all"
    """As for `python_stdlib`, by the hash of the file's content, so of few files one split may be empty; `all` reads
    every file."""
    max_documents: PositiveInt | None = None
    """Read only this many files."""


SourceSpec = Annotated[PythonStdlibSource | TextSource, Field(discriminator="type")]


class BpeTokenizer(Spec):
    """A byte-level BPE tokenizer trained on the training data."""

    type: Literal["bpe"]
    vocab_size: Annotated[int, Field(strict=True, ge=257)] = 4096
    """Entries, the 256 bytes and the end-of-text token included; a small text may give fewer."""


class BytesTokenizer(Spec):
    """One token per byte, and an end-of-text token: 257 entries, nothing to train."""

    type: Literal["bytes"]


class PretrainedTokenizer(Spec):
    """A tokenizer that exists."""

    type: Literal["pretrained"]
    path: str | None = None
    """A folder or hub id; `null` takes the one beside the pretrained model."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""


TokenizerSpec = Annotated[BpeTokenizer | BytesTokenizer | PretrainedTokenizer, Field(discriminator="type")]

Packing = Literal["isolated", "concat", "none"]


class DataSpec(Spec):
    """The data, and how it becomes samples of `seq_len` tokens."""

    train: Annotated[list[SourceSpec], Field(min_length=1)]
    """Sources to train on, read one after the other."""
    validation: list[SourceSpec] = []
    """Sources to evaluate on."""
    tokenizer: TokenizerSpec
    """How text becomes tokens."""
    seq_len: PositiveInt
    """Tokens per sample."""
    packing: Packing = "isolated"
    """`isolated`: documents share a sample but do not see each other; `concat`: one stream of text cut every `seq_len`
    tokens; `none`: one document per sample, padded."""
    cache: str | Auto = "auto"
    """Directory of prepared data; `auto`: `zerotrain/data` in the user's cache directory."""
