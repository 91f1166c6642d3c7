"""A record of a source, and reading a text from a file with a finding for everything that can be wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import reason_of

VALIDATION_EVERY = 20
"""One record in this many is for validation."""


@dataclass(frozen=True)
class Fault:
    """Why a record is of no use."""

    code: str
    name: str
    fact: str
    """What the record has or lacks, to be read after its name: `has no answer`."""


@dataclass(frozen=True)
class Record:
    """One entry of a source: a document, a line of a table, an image with its class."""

    name: str
    """How a message names it; not part of the data."""
    fields: Mapping[str, Any]
    """Its columns, as the task calls them."""
    fault: Fault | None = None
    """Why it could not be read."""


def read_text(path: Path, name: str, key: str, problems: list[Diagnostic]) -> str | None:
    """Returns the text of a file, byte for byte: no newline is translated, no byte order mark removed.

    Appends a finding (ZT602, ZT604) to `problems` and gives None when the file cannot be read as UTF-8.
    """
    content = read_bytes(path, name, key, problems)
    if content is None:
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as wrong:
        problems.append(_not_utf8(name, content, wrong.start, key))
        return None


def read_bytes(path: Path, name: str, key: str, problems: list[Diagnostic]) -> bytes | None:
    """Returns the content of a file; appends a finding (ZT604) and gives None when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as failure:
        reason = reason_of(failure)
        problems.append(unreadable(name, reason, key, "make the file readable, or leave it out"))
        return None


def in_split(identity: bytes, split: str) -> bool:
    """Tells whether the record with this identity belongs to the split: a pure function of both."""
    number = int.from_bytes(blake2b(identity, digest_size=8).digest(), "big")
    return split == "all" or (number % VALIDATION_EVERY == 0) == (split == "validation")


def unreadable(name: str, reason: str, key: str, help: str) -> Diagnostic:
    """Returns the finding for a file that is there but cannot be read."""
    return error("ZT604", "unreadable-data", f"`{name}` cannot be read: {reason}", help=help, key=key)


def _not_utf8(name: str, content: bytes, offset: int, key: str) -> Diagnostic:
    line = content.count(b"\n", 0, offset) + 1
    return error(
        "ZT602",
        "not-utf8",
        f"`{name}` is not UTF-8: byte 0x{content[offset]:02x} at offset {offset}, line {line}",
        help="convert the file to UTF-8 (`iconv -f latin1 -t utf-8` if it is Latin-1), or leave it out",
        key=key,
    )
