"""What DeepSpeed makes of values, and how messages speak of them."""

from __future__ import annotations

import pytest

from zerotrain.check.config.conversion import looks_like_placeholder, number_in, shown


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "`null`"),
        (True, "`true`"),
        (1.5, "`1.5`"),
        (10**400, "`a huge number`"),
        ("a", 'the text `"a"`'),
        ([1], "a list"),
        ({"a": 1}, "a section"),
    ],
)
def test_a_value_in_words(value: object, words: str) -> None:
    assert shown(value) == words


@pytest.mark.parametrize(
    ("value", "number"), [("4", 4), ("-4", -4), ("1e-4", 1e-4), ("x", None), ("inf", None), (4, None)]
)
def test_the_number_in_a_text(value: object, number: float | None) -> None:
    assert number_in(value) == number


@pytest.mark.parametrize("value", ["GBSIZE", "GBSIZE,", "ZERO_STAGE", "CL_1st_MIN", "{{ x }}", "${X}", "<your size>"])
def test_a_placeholder(value: str) -> None:
    assert looks_like_placeholder(value)


@pytest.mark.parametrize("value", ["auto", "CPU", "TRUE", "None", "AdamW", "WarmupLR", "fp16", "1e-4", 3, None])
def test_no_placeholder(value: object) -> None:
    assert not looks_like_placeholder(value)
