"""Did you mean …: the nearest of the names that exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Returns the known word most like `word`, or None when none is close."""
    words = {candidate.lower(): candidate for candidate in known}
    matches = get_close_matches(word.lower(), words, n=1, cutoff=0.6)
    return words[matches[0]] if matches else None


def evident(word: str, known: Iterable[str]) -> str | None:
    """Returns the known word that `word` can only be a slip for: very like it, and no other nearly as much."""
    words = {candidate.lower(): candidate for candidate in known}
    matches = get_close_matches(word.lower(), words, n=2, cutoff=0.8)
    likeness = [SequenceMatcher(None, match, word.lower()).ratio() for match in matches]
    is_alone = len(matches) == 1 or (len(matches) == 2 and likeness[0] - likeness[1] > 0.05)
    return words[matches[0]] if is_alone else None


def listed(words: Iterable[str], conjunction: str = "or") -> str:
    """Returns the words in backticks, with commas and a conjunction: `a`, `b` or `c`."""
    quoted = [f"`{word}`" for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {conjunction} {quoted[-1]}" if quoted else ""
