"""A place in a text that is read, and what was noticed on the way."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any, Literal

from zerotrain.diagnostic import Place
from zerotrain.spec.hjson.scalars import NotHjson
from zerotrain.spec.tree import Path

Kind = Literal[
    "byte-order-mark",
    "comment",
    "no-braces",
    "unquoted-key",
    "odd-key",
    "duplicate",
    "single-quotes",
    "multi-line-text",
    "escape",
    "bare-text",
    "placeholder",
    "python-literal",
    "odd-number",
    "not-a-number",
    "trailing-comma",
    "missing-comma",
]

Span = tuple[int, int, int, int]
"""Where a value starts and ends, then its key."""

_EACH = frozenset({"odd-key", "duplicate", "bare-text", "placeholder", "python-literal", "odd-number", "not-a-number"})
_MOST_REFUSALS = 3
_SPACE = re.compile(r"[ \t\n\r]+")


@dataclass(frozen=True)
class Departure:
    """A place where the text is not strict JSON, or not what it seems."""

    kind: Kind
    start: int
    end: int
    path: Path = ()
    value: Any = None
    """What DeepSpeed's reader makes of it; of a duplicate, the line of the first."""
    meaning: Any = None
    """What was probably meant."""
    swallows: bool = False
    """It takes more of its line into the text than a comma of its own."""
    place: Place = field(default_factory=Place)
    written: str = ""


class Cursor:
    """Reads a text from left to right. Strict, it raises NotHjson where `hjson` refuses; tolerant, it notes that."""

    def __init__(self, text: str, *, tolerant: bool = False) -> None:
        self.text, self.tolerant = text, tolerant
        self.at = 0
        self.took_line = False
        """The last value was text to the end of the line, perhaps with its comma."""
        self.line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self.forget()

    def forget(self) -> None:
        """Forgets what was noticed."""
        self.spans: dict[Path, Span] = {}
        self.departures: list[Departure] = []
        """Every one of the kinds that change a value, the first of the others."""
        self.refusals: list[NotHjson] = []
        self._seen: set[str] = set()

    @property
    def here(self) -> str:
        """The next character; empty at the end."""
        return self.text[self.at : self.at + 1]

    def skip(self) -> None:
        """Passes space and comments."""
        while True:
            self.at = start = end_of(_SPACE, self.text, self.at)
            if self.here not in ("#", "/"):
                return
            if self.text.startswith(("#", "//"), start):
                self._pass("\n", start, 0)
            elif self.text.startswith("/*", start):
                self._pass("*/", start + 2, 2)
                if self.text[self.at - 2 : self.at] != "*/" or self.at < start + 4:
                    self.refuse("the comment is never closed", start, start + 2, "add `*/`")
            else:
                return
            self.note("comment", start, start + 2)

    def _pass(self, end: str, start: int, width: int) -> None:
        found = self.text.find(end, start)
        self.at = found + width if found >= 0 else len(self.text)

    def skip_over(self, character: str) -> None:
        """Passes space, the character if it comes next, and the space after it."""
        self.skip()
        if self.here == character:
            self.at += 1
            self.skip()

    def pass_comma(self, closer: str) -> None:
        """Passes the comma after a value; HJSON needs none, and allows one before the closing bracket."""
        took_line, self.took_line = self.took_line, False
        self.skip()
        comma = self.at
        if self.here == ",":
            self.at += 1
            self.skip()
            if self.here == closer:
                self.note("trailing-comma", comma, comma + 1)
        elif self.here not in (closer, "", "}", "]") and not self.refusals and not took_line:
            self.note("missing-comma", comma, comma + 1)

    def note(
        self,
        kind: Kind,
        start: int,
        end: int,
        path: Path = (),
        value: Any = None,
        meaning: Any = None,
        swallows: bool = False,
    ) -> None:
        """Keeps a departure from JSON."""
        if kind in _EACH or kind not in self._seen:
            self._seen.add(kind)
            self.departures.append(Departure(kind, start, end, path, value, meaning, swallows))

    def refuse(self, fact: str, start: int, end: int, help: str | None = None) -> None:
        """Raises NotHjson; tolerant, keeps it."""
        refusal = NotHjson(fact, start, end, help)
        if not self.tolerant:
            raise refusal
        if len(self.refusals) < _MOST_REFUSALS:
            self.refusals.append(refusal)

    def line(self, index: int) -> int:
        """Returns the number of the line, counted from 0."""
        return bisect_right(self.line_starts, index) - 1

    def indent(self, index: int) -> int:
        """Returns the indentation of the line."""
        start = self.line_starts[self.line(index)]
        return end_of(_SPACE, self.text, start) - start

    def spot(self, start: int, end: int) -> tuple[int, int, int]:
        """Returns line, column and width, counted from 0; what spans lines is one character wide."""
        line = self.line(start)
        column = start - self.line_starts[line]
        is_on_one = line + 1 == len(self.line_starts) or end < self.line_starts[line + 1]
        return line, column, max(1, end - start) if is_on_one else 1


def end_of(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Returns where the match from here ends; no match is empty."""
    match = pattern.match(text, start)
    return match.end() if match else start
