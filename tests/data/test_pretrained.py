"""Tokenizers that exist."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

from zerotrain.data.pretrained import find_pretrained
from zerotrain.data.tokenizer import Encoder, pretrained_layer
from zerotrain.diagnostic import Diagnostic
from zerotrain.errors import DataError
from zerotrain.spec.data import PretrainedTokenizer

TEXT = "the quick brown fox jumps over the lazy dog, the end"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tokenizer as people publish them: with a template that adds tokens, a truncation and a padding."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<pad>"]
    tokenizer.train_from_iterator([TEXT] * 5, trainers.BpeTrainer(special_tokens=special, show_progress=False))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=64)
    path = tmp_path / "published"
    path.mkdir()
    tokenizer.save(str(path / "tokenizer.json"))
    padding = {"__type": "AddedToken", "content": "<pad>", "lstrip": False, "rstrip": False}
    configure(path, eos_token="</s>", pad_token=padding, chat_template="{{ messages }}")
    return path


def configure(folder: Path, **values: Any) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(values))


def finding(path: Path | str | None, model: str | None = None) -> Diagnostic:
    with pytest.raises(DataError) as caught:
        find_pretrained(PretrainedTokenizer(type="pretrained", path=path and str(path)), model)
    (problem,) = caught.value.findings
    assert (problem.code, problem.name) == ("ZT606", "unreadable-tokenizer")
    assert problem.place.key == "data.tokenizer.path"
    return problem


def spec(path: Path) -> PretrainedTokenizer:
    return PretrainedTokenizer(type="pretrained", path=str(path))


def test_a_folder_is_read_with_its_end_of_text_and_padding_tokens(folder: Path):
    found = find_pretrained(spec(folder), None)

    assert (found.eos_token_id, found.pad_token_id) == (1, 2)
    assert found.vocab_size == Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()


def test_without_a_path_the_tokenizer_beside_the_model_is_read(folder: Path):
    assert find_pretrained(PretrainedTokenizer(type="pretrained"), str(folder)) == find_pretrained(spec(folder), None)


def test_without_a_padding_token_the_end_of_text_token_pads(folder: Path):
    configure(folder, eos_token="</s>")

    assert find_pretrained(spec(folder), None).pad_token_id == 1


def test_the_end_of_text_token_may_stand_in_the_older_file(folder: Path):
    (folder / "tokenizer_config.json").unlink()
    (folder / "special_tokens_map.json").write_text(json.dumps({"eos_token": "</s>"}))
    found = find_pretrained(spec(folder), None)

    assert found.eos_token_id == 1
    assert json.loads(found.files["tokenizer_config.json"])["eos_token"] == "</s>"


def test_the_layer_is_a_folder_that_transformers_reads_and_encodes_the_same(folder: Path, tmp_path: Path):
    layer = pretrained_layer(tmp_path / "cache", find_pretrained(spec(folder), None), print)
    theirs = AutoTokenizer.from_pretrained(layer.path)
    (ids,) = Encoder(layer.path).encode([TEXT])

    assert len(ids) > 4
    assert theirs(TEXT, add_special_tokens=False, truncation=False, padding=False)["input_ids"] == ids.tolist()
    assert (theirs.eos_token_id, theirs.pad_token_id) == (1, 2)
    assert theirs.chat_template == "{{ messages }}"


def test_another_file_is_another_layer(folder: Path, tmp_path: Path):
    one = pretrained_layer(tmp_path / "cache", find_pretrained(spec(folder), None), print)
    configure(folder, eos_token="<s>")
    two = pretrained_layer(tmp_path / "cache", find_pretrained(spec(folder), None), print)

    assert one.path != two.path
    assert one.facts["fingerprint"] != two.facts["fingerprint"]


def test_a_folder_in_an_older_form_is_read_by_transformers(tmp_path: Path):
    characters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*characters, "th", "<|endoftext|>"])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nt h\n")
    configure(tmp_path, tokenizer_class="GPT2Tokenizer", eos_token="<|endoftext|>")

    found = find_pretrained(spec(tmp_path), None)
    layer = pretrained_layer(tmp_path / "cache", found, print)
    (ids,) = Encoder(layer.path).encode(["the"])

    assert found.eos_token_id == 257
    assert ids.tolist() == [256, vocabulary["e"]]


def test_a_missing_folder_is_a_finding(tmp_path: Path):
    assert finding(tmp_path / "missing").message == f"the folder `{tmp_path}/missing` does not exist"


def test_no_path_and_no_model_is_a_finding():
    assert "`data.tokenizer.path` is null" in finding(None).message


def test_a_folder_without_a_tokenizer_is_a_finding(tmp_path: Path):
    problem = finding(tmp_path)

    assert problem.message.startswith(f"`{tmp_path}` has no `tokenizer.json`, and transformers cannot load it: ")


@pytest.mark.parametrize(("name", "content"), [("tokenizer.json", '{"model": '), ("tokenizer_config.json", "{")])
def test_broken_json_is_a_finding(folder: Path, name: str, content: str):
    (folder / name).write_text(content)

    assert finding(folder).message.startswith(f"`{name}` in `{folder}` is broken: ")


@pytest.mark.parametrize("values", [{}, {"eos_token": None}, {"eos_token": "<end>"}])
def test_no_end_of_text_token_is_a_finding(folder: Path, values: dict[str, Any]):
    configure(folder, **values)
    problem = finding(folder)

    assert problem.message == f"the tokenizer in `{folder}` has no end-of-text token"
    assert problem.help == "set `eos_token` in its `tokenizer_config.json` to an entry of its vocabulary"


def test_a_folder_without_a_configuration_has_no_end_of_text_token(folder: Path):
    (folder / "tokenizer_config.json").unlink()

    assert "no end-of-text token" in finding(folder).message
