"""Did you mean."""

from __future__ import annotations

import pytest

from zerotrain.spec.suggest import listed, nearest


@pytest.mark.parametrize(
    ("word", "near"),
    [("stag", "stage"), ("STAGE", "stage"), ("lamaa", "Llama"), ("zzz", None), ("", None)],
)
def test_the_nearest_word_is_found_whatever_its_case(word: str, near: str | None) -> None:
    assert nearest(word, ["stage", "Llama", "offload_param"]) == near


def test_nothing_is_near_to_no_words() -> None:
    assert nearest("stage", []) is None


@pytest.mark.parametrize(
    ("words", "text"),
    [([], ""), (["a"], "`a`"), (["a", "b"], "`a` or `b`"), (["a", "b", "c"], "`a`, `b` or `c`")],
)
def test_words_are_listed_with_commas_and_a_conjunction(words: list[str], text: str) -> None:
    assert listed(words) == text


def test_the_conjunction_can_be_chosen() -> None:
    assert listed(iter(["a", "b"]), "and") == "`a` and `b`"
