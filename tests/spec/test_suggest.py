"""Did you mean."""

from __future__ import annotations

import pytest

from zerotrain.spec.suggest import evident, listed, nearest


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


@pytest.mark.parametrize(
    ("word", "known", "sure"),
    [
        ("stag", ["stage", "storage"], "stage"),
        ("Stage", ["stage"], "stage"),
        ("offload", ["offload_param", "offload_optimizer"], None),
        ("betta1", ["beta1", "beta2"], "beta1"),
        ("beta", ["beta1", "beta2"], None),
        ("zzz", ["stage"], None),
    ],
)
def test_a_word_is_evident_when_it_is_very_like_one_and_no_other(word: str, known: list[str], sure: str | None) -> None:
    assert evident(word, known) == sure
