"""Tokenizers that exist: read from a folder, or fetched from the hub by transformers."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import DataError
from zerotrain.spec.data import PretrainedTokenizer

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"

_TOKENS_FILE = "special_tokens_map.json"
_FILES = (
    TOKENIZER_FILE,
    CONFIG_FILE,
    _TOKENS_FILE,
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
)
_ENCODER_TOKENS = {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
_KEY = "data.tokenizer.path"
_HUB_ID = re.compile(r"^[\w.-]+(/[\w.-]+)?$")


@dataclass(frozen=True)
class Pretrained:
    """A tokenizer as it was found."""

    files: Mapping[str, bytes]
    """Contents of its files by name; `tokenizer.json` is always there."""
    vocab_size: int
    eos_token_id: int
    pad_token_id: int
    encoder_ids: Mapping[str, int | None] = field(default_factory=dict[str, "int | None"])
    """`cls_token_id`, `sep_token_id` and `mask_token_id`, where there are any."""


def find_pretrained(spec: PretrainedTokenizer, pretrained_model: str | None) -> Pretrained:
    """Returns the tokenizer in the folder or hub id of the spec, or else beside the pretrained model.

    Raises DataError (ZT606) when there is none, or it cannot be read, or nothing in it ends a text.
    """
    path = spec.path or pretrained_model
    if path is None:
        fact = "`data.tokenizer.path` is null, and the model has no pretrained weights to take a tokenizer from"
        raise DataError(_unreadable(fact, "set `data.tokenizer.path` to a folder or hub id"))
    folder = Path(path).expanduser()
    if (folder / TOKENIZER_FILE).is_file():
        return _read(folder, path)
    if not folder.is_dir() and not _HUB_ID.match(path):
        raise DataError(_unreadable(f"the folder `{path}` does not exist", "name a folder that has a `tokenizer.json`"))
    return _convert(str(folder) if folder.is_dir() else path, spec.revision)


def unbounded(tokenizer: Tokenizer) -> Tokenizer:
    """Returns the same tokenizer, without the truncation and padding that its file may ask for."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _convert(path: str, revision: str | None) -> Pretrained:
    """Returns the tokenizer that only transformers can read, by way of the `tokenizer.json` that it writes."""
    try:
        from transformers import AutoTokenizer
    except ImportError as absent:
        fact = f"`{path}` has no `tokenizer.json`, and transformers, which reads other forms, is not installed"
        raise DataError(_unreadable(fact, "install `zerotrain[train]`, or name a folder with it")) from absent
    with tempfile.TemporaryDirectory() as folder:
        try:
            AutoTokenizer.from_pretrained(path, revision=revision).save_pretrained(folder)
        except Exception as failure:  # transformers, the hub and the file formats raise many unrelated types
            reason = next(iter(str(failure).splitlines()), type(failure).__name__)
            fact = f"`{path}` has no `tokenizer.json`, and transformers cannot load it: {reason}"
            raise DataError(
                _unreadable(fact, "name a folder that has one, or a hub id that can be reached")
            ) from failure
        if not (Path(folder) / TOKENIZER_FILE).is_file():
            fact = f"the tokenizer of `{path}` cannot be written as a `tokenizer.json`"
            raise DataError(_unreadable(fact, "use a model that has a fast tokenizer"))
        return _read(Path(folder), path)


def _read(folder: Path, path: str) -> Pretrained:
    try:
        files = {name: (folder / name).read_bytes() for name in _FILES if (folder / name).is_file()}
    except OSError as failure:
        fact = f"the tokenizer in `{path}` cannot be read: {failure.strerror}"
        raise DataError(_unreadable(fact, "make its files readable")) from failure
    tokenizer = _parse(files[TOKENIZER_FILE], path)
    config = _json(files, CONFIG_FILE, path)
    tokens = {**_undeclared(tokenizer), **_json(files, _TOKENS_FILE, path), **config}
    encoder = {f"{name}_id": _token_id(tokenizer, tokens.get(name)) for name in _ENCODER_TOKENS}
    end = _token_id(tokenizer, tokens.get("eos_token"))
    end = encoder["sep_token_id"] if end is None else end
    if end is None:
        fact = f"the tokenizer in `{path}` has no end-of-text token"
        raise DataError(_unreadable(fact, f"set `eos_token` in its `{CONFIG_FILE}` to an entry of its vocabulary"))
    pad = _token_id(tokenizer, tokens.get("pad_token"))
    files[CONFIG_FILE] = _loadable(files.get(CONFIG_FILE), tokens)
    highest = max(tokenizer.get_vocab(with_added_tokens=True).values())
    return Pretrained(files, highest + 1, end, end if pad is None else pad, encoder)


def _parse(content: bytes, path: str) -> Tokenizer:
    try:
        return Tokenizer.from_str(content.decode())
    except Exception as broken:  # the library raises a plain Exception
        fact = f"`{TOKENIZER_FILE}` in `{path}` is broken: {broken}"
        raise DataError(_unreadable(fact, "copy the file again from where it came")) from broken


def _json(files: Mapping[str, bytes], name: str, path: str) -> dict[str, Any]:
    try:
        values = json.loads(files.get(name, b"{}"))
    except ValueError as broken:
        fact = f"`{name}` in `{path}` is broken: {broken}"
        raise DataError(_unreadable(fact, "copy the file again from where it came")) from broken
    return values if isinstance(values, dict) else {}


def _token_id(tokenizer: Tokenizer, declared: object) -> int | None:
    content = declared.get("content") if isinstance(declared, dict) else declared
    return tokenizer.token_to_id(content) if isinstance(content, str) else None


def _undeclared(tokenizer: Tokenizer) -> dict[str, str]:
    """Returns BERT's special tokens, which transformers takes for granted where the files of a tokenizer name none."""
    return {name: token for name, token in _ENCODER_TOKENS.items() if tokenizer.token_to_id(token) is not None}


def _loadable(content: bytes | None, tokens: Mapping[str, Any]) -> bytes:
    """Returns the configuration with a class, which transformers otherwise looks up in a model's `config.json`."""
    if content is not None and "tokenizer_class" in tokens:
        return content
    return json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **tokens}, indent=2).encode() + b"\n"


def _unreadable(fact: str, way_out: str) -> Diagnostic:
    return error("ZT606", "unreadable-tokenizer", fact, help=way_out, key=_KEY)
