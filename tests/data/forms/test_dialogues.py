"""Chats and preferences are read, and what cannot be used is named with its reason."""

from __future__ import annotations

from typing import Any

import pytest

from zerotrain.data.forms.chat import ChatForm
from zerotrain.data.forms.preference import PreferenceForm
from zerotrain.data.sources.record import Fault, Record
from zerotrain.spec.task import DpoTask, SftTask

ASKED = {"role": "user", "content": "hello"}
ANSWERED = {"role": "assistant", "content": "hi"}
OTHER = {"role": "assistant", "content": "go away"}


def chat(**fields: Any) -> Any:
    return ChatForm(SftTask(type="sft")).read(Record("here", fields))


def preference(**fields: Any) -> Any:
    return PreferenceForm(DpoTask(type="dpo")).read(Record("here", fields))


def test_a_chat_is_all_completion() -> None:
    assert chat(messages=[ASKED, ANSWERED]) == {"prompt": [], "completion": [ASKED, ANSWERED]}


def test_prompt_and_completion_are_text_or_messages() -> None:
    assert chat(prompt="2+2=", completion="4") == {"prompt": "2+2=", "completion": "4"}
    assert chat(prompt=[ASKED], completion=[ANSWERED]) == {"prompt": [ASKED], "completion": [ANSWERED]}


CHATS = [
    ({}, "ZT613", "has no `messages`, only nothing"),
    ({"message": [ASKED]}, "ZT613", "has no `messages`; did you mean `columns: {messages: message}`?"),
    ({"prompt": "x"}, "ZT613", "has no `completion`, only `prompt`"),
    ({"messages": "hello"}, "ZT615", "has a `messages` that is not a list of messages but text"),
    ({"messages": ["hello"]}, "ZT615", "has a `messages[0]` that is not an object with `role` and `content` but text"),
    ({"messages": []}, "ZT652", "has a `messages` that has no message, not with an answer of `assistant`"),
    ({"messages": [ANSWERED, ASKED]}, "ZT652", "ends with a message of `user`"),
    (
        {"messages": [{"role": "gpt", "content": "x"}]},
        "ZT653",
        "has a `messages[0]` with the role `gpt`; the roles are",
    ),
    ({"messages": [{"content": "x"}]}, "ZT653", "with no role"),
    ({"messages": [ASKED, {"role": "assistant", "content": ""}]}, "ZT653", "has a `messages[1]` with empty content"),
    ({"messages": [{"role": "user", "content": None}]}, "ZT653", "content that is not text"),
    ({"messages": [{"role": "user"}]}, "ZT653", "content that is not text"),
    ({"prompt": "x", "completion": [ANSWERED]}, "ZT615", "a `completion` that is not text, as its `prompt` is, but"),
    ({"prompt": [ASKED], "completion": "x"}, "ZT615", "is not a list of messages, as its `prompt` is, but text"),
    ({"prompt": 3, "completion": "x"}, "ZT615", "has a `prompt` that is not text but a number"),
    ({"prompt": "x", "completion": ""}, "ZT607", "has an empty `completion`"),
]


@pytest.mark.parametrize(("fields", "code", "fact"), CHATS, ids=[str(number) for number in range(len(CHATS))])
def test_a_chat_that_is_of_no_use_says_why(fields: dict[str, Any], code: str, fact: str) -> None:
    found = chat(**fields)

    assert isinstance(found, Fault)
    assert found.code == code
    assert fact in found.fact


def test_a_preference_is_a_prompt_and_two_answers() -> None:
    record = {"prompt": [ASKED], "chosen": [ANSWERED], "rejected": [OTHER]}

    assert preference(**record, more=1) == record


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"chosen": "a", "rejected": "b"}, "ZT613"),
        ({"prompt": "p", "chosen": "a", "rejected": [OTHER]}, "ZT615"),
        ({"prompt": [ASKED], "chosen": [ANSWERED], "rejected": [ASKED]}, "ZT652"),
        ({"prompt": [ASKED], "chosen": [ANSWERED], "rejected": [{"role": "assistant", "content": ""}]}, "ZT653"),
        ({"prompt": "p", "chosen": "a", "rejected": "a"}, "ZT662"),
        ({"prompt": [ASKED], "chosen": [ANSWERED], "rejected": [dict(ANSWERED)]}, "ZT662"),
    ],
)
def test_a_preference_that_is_of_no_use_says_why(fields: dict[str, Any], code: str) -> None:
    found = preference(**fields)

    assert isinstance(found, Fault)
    assert found.code == code


def test_a_tokenizer_is_trained_on_what_everyone_says() -> None:
    form = PreferenceForm(DpoTask(type="dpo"))

    assert list(form.texts({"prompt": [ASKED], "chosen": [ANSWERED], "rejected": [OTHER]})) == [
        "hello",
        "hi",
        "go away",
    ]
    assert list(form.texts({"prompt": "a", "chosen": "b", "rejected": "c"})) == ["a", "b", "c"]
