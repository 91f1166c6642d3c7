"""What a rule is: a code, a name, a page, and a function that looks at a case."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from zerotrain.check.case import Case
from zerotrain.check.config.case import ConfigCase
from zerotrain.diagnostic import Diagnostic

Look = Callable[[Case], Iterator[Diagnostic]]
ConfigLook = Callable[[ConfigCase], Iterator[Diagnostic]]


@dataclass(frozen=True)
class Page:
    """What is told about a code; read from the docstring of its function."""

    summary: str
    why: str
    wrong: str
    right: str


@dataclass(frozen=True)
class Rule:
    """A code that exists."""

    code: str
    name: str
    doc: str
    look: Look | None = None
    """Looks at a spec."""
    look_at_config: ConfigLook | None = None
    """Looks at a DeepSpeed config: anyone's, or the one a spec is compiled to."""
    raised_by: str = "check"
    """What reports it."""

    def __call__(self, case: Case) -> Iterator[Diagnostic]:
        """Yields the findings about a spec."""
        for finding in self.look(case) if self.look else ():
            yield replace(finding, code=self.code, name=self.name)

    def about_config(self, case: ConfigCase) -> Iterator[Diagnostic]:
        """Yields the findings about a DeepSpeed config."""
        for finding in self.look_at_config(case) if self.look_at_config else ():
            yield replace(finding, code=self.code, name=self.name)

    @property
    def page(self) -> Page:
        """What is told about the code."""
        text = inspect.cleandoc(self.doc)
        parts = re.split(r"\n\s*\n?(Why|Wrong|Right):\s*", text)
        sections = dict(zip(parts[1::2], parts[2::2], strict=True))
        return Page(parts[0].strip(), *(sections.get(name, "").strip() for name in ("Why", "Wrong", "Right")))


def rule(code: str, name: str) -> Callable[[Look], Rule]:
    """Makes a rule of a function whose docstring is its page: a summary, then `Why:`, `Wrong:` and `Right:`."""
    return lambda look: Rule(code, name, look.__doc__ or "", look)


def config_rule(code: str, name: str) -> Callable[[ConfigLook], Rule]:
    """Makes a rule about DeepSpeed configs of a function whose docstring is its page."""
    return lambda look: Rule(code, name, look.__doc__ or "", look_at_config=look, raised_by="check and lint")


def reported_by(whom: str, code: str, name: str) -> Callable[[Callable[[], None]], Rule]:
    """Makes the page of a code that something other than `check` reports."""
    return lambda function: Rule(code, name, function.__doc__ or "", raised_by=whom)
