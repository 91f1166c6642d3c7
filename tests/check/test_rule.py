"""A rule is a function with a code, and its docstring is its page."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from zerotrain.check.case import Case
from zerotrain.check.rule import Page, reported_by, rule
from zerotrain.diagnostic import Diagnostic


@rule("ZT999", "an-example")
def example(case: Case) -> Iterator[Diagnostic]:
    """A fact in one line.

    Why: a reason that
    goes on, and has a colon: here.
    Wrong: `{a: 1}`
    Right: `{a: 2}`
    """
    yield case.warning("seed", "look")
    yield case.error("name", "look again")


@reported_by("someone", "ZT998", "another-example")
def another() -> None:
    """Another fact.

    Why: so
    Wrong: this
    Right: that
    """


def test_a_page_is_read_from_the_docstring() -> None:
    assert example.page == Page(
        "A fact in one line.",
        "a reason that\ngoes on, and has a colon: here.",
        "`{a: 1}`",
        "`{a: 2}`",
    )
    assert another.page == Page("Another fact.", "so", "this", "that")


def test_findings_get_the_rule_s_code_and_name(case: Callable[..., Case]) -> None:
    found = list(example(case()))

    assert [(f.code, f.name, f.place.key) for f in found] == [
        ("ZT999", "an-example", "seed"),
        ("ZT999", "an-example", "name"),
    ]


def test_a_code_that_something_else_reports_is_never_found_by_looking(case: Callable[..., Case]) -> None:
    assert list(another(case())) == []
    assert (another.look, another.raised_by) == (None, "someone")
    assert example.raised_by == "check"


def test_a_rule_without_a_docstring_has_an_empty_page() -> None:
    @rule("ZT997", "bare")
    def bare(case: Case) -> Iterator[Diagnostic]:
        yield from ()

    assert bare.page == Page("", "", "", "")


@pytest.mark.parametrize("code", ["ZT999", "ZT998"])
def test_a_rule_cannot_be_changed(code: str) -> None:
    with pytest.raises(AttributeError):
        example.code = code  # type: ignore[misc]
