"""All documents of a list of sources, and the identity of their text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from zerotrain.data.cache import Say
from zerotrain.data.sources.document import Document, unreadable
from zerotrain.data.sources.table import SOURCES
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import DataError
from zerotrain.spec.model import SourceSpec

_NAMED = 3


class _Digest:
    """The identity of a sequence of texts: their bytes and where each ends, not their names."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)
        self.documents = 0
        self.bytes = 0

    def add(self, text: str) -> None:
        """Counts one more text."""
        content = text.encode()
        self._hash.update(len(content).to_bytes(8, "big") + content)
        self.documents += 1
        self.bytes += len(content)

    def value(self) -> str:
        """Returns the identity as hexadecimal digits."""
        return self._hash.hexdigest()


@dataclass(frozen=True)
class Corpus:
    """Documents that have been read once, are known to be sound, and are read again when they are needed."""

    sources: Sequence[SourceSpec]
    key: str
    """Where the sources stand in the spec: `data.train`."""
    digest: str
    documents: int
    """Documents that are not empty."""
    bytes: int

    def texts(self) -> Iterator[str]:
        """Yields every document that is not empty, in the order of the sources.

        Raises DataError (ZT604) at the end when the text is not what it was when the corpus was scanned.
        """
        problems: list[Diagnostic] = []
        digest = _Digest()
        for position, source in enumerate(self.sources):
            for document in _documents(source, f"{self.key}[{position}]", problems):
                if document.text:
                    digest.add(document.text)
                    yield document.text
        if digest.value() != self.digest:
            raise DataError(*(problems or [self._changed()]))

    def _changed(self) -> Diagnostic:
        way_out = "run again when nothing writes to the data"
        return unreadable(self.key, "its text changed while it was being prepared", self.key, way_out)


def scan(sources: Sequence[SourceSpec], key: str, problems: list[Diagnostic], say: Say) -> Corpus:
    """Returns the corpus of the sources, each read to its end once.

    Appends a finding to `problems` for every document that cannot be read and every source that has none.
    """
    digest = _Digest()
    for position, source in enumerate(sources):
        _scan_source(source, f"{key}[{position}]", digest, problems, say)
    return Corpus(sources, key, digest.value(), digest.documents, digest.bytes)


def _scan_source(source: SourceSpec, key: str, digest: _Digest, problems: list[Diagnostic], say: Say) -> None:
    found_before, documents_before = len(problems), digest.documents
    empty: list[str] = []
    for document in _documents(source, key, problems):
        if document.text:
            digest.add(document.text)
        else:
            empty.append(document.name)
    if empty:
        say(_skipped(empty, key))
    if digest.documents == documents_before and len(problems) == found_before:
        problems.append(_empty(source, key, len(empty)))


def _documents(source: SourceSpec, key: str, problems: list[Diagnostic]) -> Iterator[Document]:
    return SOURCES[source.type](source, key, problems)


def _skipped(empty: list[str], key: str) -> str:
    names = ", ".join(f"`{name}`" for name in empty[:_NAMED])
    more = f" and {len(empty) - _NAMED:,} more" if len(empty) > _NAMED else ""
    count = "1 empty document" if len(empty) == 1 else f"{len(empty):,} empty documents"
    return f"warning ZT607 empty-document: {count} of `{key}` skipped: {names}{more}"


def _empty(source: SourceSpec, key: str, empty: int) -> Diagnostic:
    if empty:
        fact = f"`{key}` has only empty documents ({empty:,})"
        return error("ZT603", "empty-data", fact, help="name files with text in them", key=key)
    fact = f"`{key}` has no document in its split `{source.split}`"
    way_out = "a split takes about one document in twenty for validation; use more files, or `split: all`"
    return error("ZT603", "empty-data", fact, help=way_out, key=key)
