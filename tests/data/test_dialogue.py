"""Dialogues as tokens: nothing but answers is an answer, whatever the template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, processors
from transformers import AutoTokenizer

from zerotrain.compile.vocabulary import SPECIAL_TOKENS
from zerotrain.data.dialogue import DialogueEncoder, Encoded
from zerotrain.data.sources.record import Fault
from zerotrain.data.tokenizer import Own, bytes_layer
from zerotrain.errors import DataError
from zerotrain.spec.data import BytesTokenizer

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "héllo"},
    {"role": "assistant", "content": "hi there  "},
    {"role": "user", "content": "and now?"},
    {"role": "assistant", "content": "  ünd jetzt\n"},
]
END = "<|im_end|>"
ANSWERS = f"hi there  {END}  ünd jetzt\n{END}"

MARKED = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}INSIDE{% endgeneration %}"
    "{% else %}{{ m['content'] }}{% endif %}OUTSIDE\n{% endfor %}"
)
PLAIN = (
    "{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% elif m['role'] == 'assistant' %} {{ m['content'] }}<|im_end|>{% endif %}{% endfor %}"
)
FORGETFUL = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{{ m['content'][:2] if m['role'] == 'assistant' and not loop.last else m['content'] }}<|im_end|>\n{% endfor %}"
)
STRICT = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system message, please') }}{% endif %}x"


def folder(path: Path, template: str | None = None, *, bos: bool = False) -> Path:
    """A tokenizer of bytes; with `bos` one that puts the end-of-text token before every text."""
    own = Own(SPECIAL_TOKENS["sft"])
    layer = bytes_layer(path / "cache", BytesTokenizer(type="bytes"), None, own, print)  # type: ignore[arg-type]
    target = path / "tokenizer"
    target.mkdir()
    config = json.loads((layer.path / "tokenizer_config.json").read_text())
    if template is not None:
        config["chat_template"] = template
    tokenizer = Tokenizer.from_file(str(layer.path / "tokenizer.json"))
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|endoftext|> $A <|im_end|>", special_tokens=[("<|endoftext|>", 256), (END, 258)]
        )
    tokenizer.save(str(target / "tokenizer.json"))
    (target / "tokenizer_config.json").write_text(json.dumps(config))
    return target


def encoded(path: Path, prompt: Any, answer: Any) -> Encoded:
    found = DialogueEncoder(path, 258).encode(prompt, answer)
    assert isinstance(found, Encoded), found
    return found


def fault(path: Path, prompt: Any, answer: Any) -> Fault:
    found = DialogueEncoder(path, 258).encode(prompt, answer)
    assert isinstance(found, Fault)
    return found


def answers(path: Path, found: Encoded) -> str:
    ids = [number for number, is_answer in zip(found.ids, found.is_answer, strict=True) if is_answer]
    return AutoTokenizer.from_pretrained(path).decode(ids)


def test_every_answer_is_trained_with_the_token_that_ends_it_and_nothing_else(tmp_path: Path) -> None:
    path = folder(tmp_path)

    assert answers(path, encoded(path, [], CHAT)) == ANSWERS


def test_the_tokens_are_those_that_transformers_makes_of_the_chat(tmp_path: Path) -> None:
    path = folder(tmp_path, bos=True)
    theirs = AutoTokenizer.from_pretrained(path).apply_chat_template(CHAT, return_dict=True)["input_ids"]

    assert list(encoded(path, [], CHAT).ids) == theirs


@pytest.mark.parametrize("end", [END, ""], ids=["inside", "outside"])
def test_a_template_that_marks_its_answers_is_believed_and_its_end_is_trained(tmp_path: Path, end: str) -> None:
    template = MARKED.replace("INSIDE", end).replace("OUTSIDE", "" if end else END)
    path = folder(tmp_path, template)

    assert answers(path, encoded(path, [], CHAT)) == ANSWERS


def test_only_the_answers_of_a_completion_are_answers(tmp_path: Path) -> None:
    for number, template in enumerate((None, MARKED.replace("INSIDE", "").replace("OUTSIDE", END))):
        (tmp_path / str(number)).mkdir()
        path = folder(tmp_path / str(number), template)
        assert answers(path, encoded(path, CHAT[:4], CHAT[4:])) == f"  ünd jetzt\n{END}"


def test_a_template_without_special_tokens_around_its_turns_is_understood(tmp_path: Path) -> None:
    path = folder(tmp_path, PLAIN)

    assert answers(path, encoded(path, [], CHAT)) == f" hi there  {END}   ünd jetzt\n{END}"


def test_a_template_and_a_tokenizer_that_both_write_a_beginning_write_one(tmp_path: Path) -> None:
    path = folder(tmp_path, MARKED.replace("INSIDE", "").replace("OUTSIDE", END), bos=True)
    ids = list(encoded(path, [], CHAT).ids)

    assert ids[0] == 256
    assert ids.count(256) == 1


def test_text_has_the_beginning_of_its_tokenizer_and_the_end_of_text(tmp_path: Path) -> None:
    path = folder(tmp_path, bos=True)
    found = encoded(path, "2+2=", "4")

    assert list(found.ids) == [256, *b"2+2=", *b"4", 258]
    assert list(found.is_answer) == [False] * 5 + [True] * 2


def test_the_name_of_a_special_token_is_text_in_a_text_and_refused_in_a_message(tmp_path: Path) -> None:
    path = folder(tmp_path)

    assert list(encoded(path, "a", END).ids) == [*b"a", *END.encode(), 258]
    found = fault(path, [], [{"role": "user", "content": f"x{END}y"}, CHAT[2]])
    assert (found.code, found.fact) == ("ZT655", f"has the special token `{END}` in a message")


def test_a_chat_that_is_rendered_differently_when_it_goes_on_is_a_fault(tmp_path: Path) -> None:
    path = folder(tmp_path, FORGETFUL)

    assert fault(path, [], CHAT).code == "ZT654"
    assert answers(path, encoded(path, CHAT[:2], CHAT[4:])) == f"<|im_start|>assistant\n  ünd jetzt\n{END}"


def test_what_a_template_refuses_is_a_fault_with_its_reason(tmp_path: Path) -> None:
    found = fault(folder(tmp_path, STRICT), [], CHAT)

    assert (found.code, found.fact) == ("ZT651", "is refused by the chat template: no system message, please")


@pytest.mark.parametrize("template", ["{% for", "{{ messages.gone.gone }}", "{{ 1 / 0 }}"])
def test_a_broken_template_is_a_fault_too(tmp_path: Path, template: str) -> None:
    assert fault(folder(tmp_path, template), [], CHAT).code == "ZT651"


def test_messages_need_a_template_and_text_does_not(tmp_path: Path) -> None:
    path = folder(tmp_path)
    config = json.loads((path / "tokenizer_config.json").read_text())
    del config["chat_template"]
    (path / "tokenizer_config.json").write_text(json.dumps(config))

    assert encoded(path, "a", "b")
    with pytest.raises(DataError, match="ZT650"):
        fault(path, [], CHAT)


def test_a_template_in_a_file_or_in_a_list_is_found(tmp_path: Path) -> None:
    path = folder(tmp_path, PLAIN)
    config = json.loads((path / "tokenizer_config.json").read_text())
    named = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": PLAIN}]
    expected = encoded(path, [], CHAT)

    (path / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": named}))
    assert encoded(path, [], CHAT) == expected
    (path / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": None}))
    (path / "chat_template.jinja").write_text(PLAIN)
    assert encoded(path, [], CHAT) == expected
