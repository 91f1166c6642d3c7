"""Reading prompts and answers from records: each is text, or a list of messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zerotrain.data.forms.base import text_of, wrong_type
from zerotrain.data.sources.record import Fault, Record

ROLES = ("system", "user", "assistant", "tool")

Side = str | Sequence[Mapping[str, Any]]
"""A text, or messages."""


def messages_of(record: Record, column: str) -> Sequence[Mapping[str, Any]] | Fault:
    """Returns the messages in a column, or the fault that it holds something else."""
    value = record.fields[column]
    if not isinstance(value, list):
        return wrong_type(column, "a list of messages", value)
    faults = (fault for number, turn in enumerate(value) if (fault := _fault_of(turn, f"{column}[{number}]")))
    return next(faults, None) or value


def side_of(record: Record, column: str) -> Side | Fault:
    """Returns the text or the messages in a column, or why there are none."""
    if isinstance(record.fields.get(column), list):
        return messages_of(record, column)
    return text_of(record, column)


def unanswered(column: str, side: Side) -> Fault | None:
    """Returns the fault that the last message of an answer is not the assistant's."""
    if isinstance(side, str) or (side and side[-1]["role"] == "assistant"):
        return None
    last = f"ends with a message of `{side[-1]['role']}`" if side else "has no message"
    return Fault("ZT652", "missing-answer", f"has a `{column}` that {last}, not with an answer of `assistant`")


def of_one_kind(*sides: tuple[str, Side]) -> Fault | None:
    """Returns the fault that of some columns, by name, one is text and another is messages."""
    (name, first), *others = sides
    for other, side in others:
        if isinstance(side, str) != isinstance(first, str):
            kind = "text" if isinstance(first, str) else "a list of messages"
            return wrong_type(other, f"{kind}, as its `{name}` is,", side)
    return None


def contents(side: Side) -> Sequence[str]:
    """Returns what a text or some messages say."""
    return [side] if isinstance(side, str) else [turn["content"] for turn in side]


def _fault_of(turn: Any, place: str) -> Fault | None:
    if not isinstance(turn, dict):
        return wrong_type(place, "an object with `role` and `content`", turn)
    role, content = turn.get("role"), turn.get("content")
    if role not in ROLES:
        known = ", ".join(f"`{role}`" for role in ROLES)
        has = f"the role `{role}`" if isinstance(role, str) else "no role"
        return Fault("ZT653", "wrong-message", f"has a `{place}` with {has}; the roles are {known}")
    if not isinstance(content, str) or not content:
        has = "empty content" if content == "" else "content that is not text"
        return Fault("ZT653", "wrong-message", f"has a `{place}` with {has}")
    return None
