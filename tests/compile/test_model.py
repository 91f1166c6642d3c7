"""The model a spec asks for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerotrain.compile.model import model_config, shape_of
from zerotrain.spec.run import RunSpec

Read = Callable[..., RunSpec]

BYTES = "{train: [{type: python_stdlib}], tokenizer: {type: bytes}, seq_len: 8}"
PRETRAINED = "{train: [{type: python_stdlib}], tokenizer: {type: pretrained}, seq_len: 8}"


def test_the_vocabulary_comes_from_the_tokenizer_unless_it_is_given(spec: Read) -> None:
    given = spec(model="{architecture: llama, config: {vocab_size: 300}}", data=BYTES)

    assert model_config(spec(model="{architecture: gpt2}", data=BYTES), None) == ("gpt2", {"vocab_size": 257})
    assert model_config(given, None) == ("llama", {"vocab_size": 300})
    assert model_config(spec(model="{architecture: llama}", data=PRETRAINED), None) == ("llama", {})


def test_the_spec_s_config_is_not_changed(spec: Read) -> None:
    read = spec(model="{architecture: llama, config: {hidden_size: 64}}", data=BYTES)
    model_config(read, None)

    assert read.model.config == {"hidden_size": 64}


def test_a_pretrained_config_lies_below_the_spec_s(spec: Read) -> None:
    read = spec(model="{pretrained: org/name, config: {hidden_size: 8}}", data=PRETRAINED)
    found = {"model_type": "qwen3", "hidden_size": 64, "vocab_size": 999}

    assert model_config(read, found) == ("qwen3", {**found, "hidden_size": 8})


def test_the_shape_is_that_of_the_architecture(spec: Read) -> None:
    shape = shape_of(spec(data=BYTES))

    assert shape is not None
    assert (shape.hidden_size, shape.num_layers, shape.vocab_size) == (64, 2, 257)


@pytest.mark.parametrize(
    "model",
    ["{architecture: lama}", "{architecture: llama, config: {hidden_size: x}}", "{pretrained: org/name}"],
)
def test_an_unknown_or_impossible_model_has_no_shape(spec: Read, model: str) -> None:
    assert shape_of(spec(model=model, data=PRETRAINED)) is None
