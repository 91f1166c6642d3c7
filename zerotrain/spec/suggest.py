"""Did you mean …: the nearest of the names that exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Returns the known word most like `word`, or None when none is close."""
    words = {candidate.lower(): candidate for candidate in known}
    matches = get_close_matches(word.lower(), words, n=1, cutoff=0.6)
    return words[matches[0]] if matches else None


def listed(words: Iterable[str], conjunction: str = "or") -> str:
    """Returns the words in backticks, with commas and a conjunction: `a`, `b` or `c`."""
    quoted = [f"`{word}`" for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {conjunction} {quoted[-1]}" if quoted else ""
