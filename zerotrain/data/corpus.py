"""All records of a list of sources as examples of a task, and the identity of what they hold."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Protocol

from zerotrain.data.cache import Say
from zerotrain.data.sources.record import Fault, Record, unreadable
from zerotrain.data.sources.table import SOURCES
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import DataError
from zerotrain.spec.sources import SourceSpec

Example = Mapping[str, Any]
"""What a sample is made of: values that JSON can hold, or bytes."""

EMPTY = "ZT607"
"""The fault that never stops a run: a file without text."""

_UNKNOWN_COLUMN, _MISSING_COLUMN = "ZT632", "ZT613"
"""A column that no record has is told once, not for every record."""

_NAMED = 3


class Reader(Protocol):
    """The part of a form that a corpus needs."""

    def read(self, record: Record) -> Example | Fault:
        """Returns the example in a record, or why there is none."""
        ...

    def texts(self, example: Example) -> Iterator[str]:
        """Yields the text of an example."""
        ...


class _Digest:
    """The identity of a sequence of examples: what they hold and where each ends, not their names."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)
        self.examples = 0
        self.bytes = 0

    def add(self, content: bytes) -> None:
        """Counts one more example."""
        self._hash.update(len(content).to_bytes(8, "big") + content)
        self.examples += 1
        self.bytes += len(content)

    def value(self) -> str:
        """Returns the identity as hexadecimal digits."""
        return self._hash.hexdigest()


@dataclass
class Faults:
    """Records that are of no use, by code."""

    counts: Counter[str] = field(default_factory=Counter[str])
    first: dict[str, list[tuple[str, Fault]]] = field(default_factory=dict[str, "list[tuple[str, Fault]]"])

    def add(self, name: str, fault: Fault) -> None:
        """Counts one more record, and remembers the first few."""
        self.counts[fault.code] += 1
        shown = self.first.setdefault(fault.code, [])
        if len(shown) < _NAMED:
            shown.append((name, fault))

    def name(self, code: str) -> str:
        """Returns the name of the fault."""
        return self.first[code][0][1].name

    def message(self, code: str, key: str, verdict: str) -> str:
        """Returns how many records have the fault, what becomes of them, and names the first."""
        count, shown = self.counts[code], self.first[code]
        records = "1 record" if count == 1 else f"{count:,} records"
        named = "; ".join(f"`{name}` {fault.fact}" for name, fault in shown)
        more = f"; and {count - len(shown):,} more" if count > len(shown) else ""
        return f"{records} of `{key}` {verdict}: {named}{more}"


@dataclass(frozen=True)
class Corpus:
    """Records that have been read once, are known to be sound, and are read again when they are needed."""

    sources: Sequence[SourceSpec]
    key: str
    """Where the sources stand in the spec: `data.train`."""
    reader: Reader
    digest: str
    documents: int
    """Records that are of use."""
    bytes: int
    skipped: Mapping[str, int] = field(default_factory=dict[str, int])
    """Records that are of no use, by code."""
    max_tokens: int | None = None
    """Tokens after which no further record is taken."""
    first: int = 0
    """Position in the spec of the first source."""
    parts: Sequence[Corpus] = ()
    """Each source by itself."""

    def examples(self) -> Iterator[Example]:
        """Yields what every record of use holds, in the order of the sources; raises as `named` does."""
        return (example for _, example in self.named())

    def named(self) -> Iterator[tuple[str, Example]]:
        """Yields the name of every record of use, and what it holds, in the order of the sources.

        Raises DataError (ZT604) at the end when it is not what it was when the corpus was scanned.
        """
        problems: list[Diagnostic] = []
        digest = _Digest()
        for position, source in enumerate(self.sources, start=self.first):
            for record in _records(source, f"{self.key}[{position}]", problems):
                example = _read(self.reader, record)
                if not isinstance(example, Fault):
                    digest.add(_content(example))
                    yield record.name, example
        if digest.value() != self.digest:
            raise DataError(*(problems or [self._changed()]))

    def texts(self) -> Iterator[str]:
        """Yields every text of every example."""
        return (text for example in self.examples() for text in self.reader.texts(example))

    def _changed(self) -> Diagnostic:
        way_out = "run again when nothing writes to the data"
        return unreadable(self.key, "its content changed while it was being prepared", self.key, way_out)


def scan(
    sources: Sequence[SourceSpec], key: str, reader: Reader, problems: list[Diagnostic], say: Say, *, skip: bool = False
) -> Corpus:
    """Returns the corpus of the sources, each read to its end once.

    Appends a finding to `problems` for everything that cannot be read, every source that has nothing, and, unless
    `skip` is set, every kind of record that is of no use. What is skipped is said.
    """
    digest, parts = _Digest(), list[Corpus]()
    for position, source in enumerate(sources):
        place, found_before = f"{key}[{position}]", len(problems)
        own, faults = _Digest(), Faults()
        for record in _records(source, place, problems):
            example = _read(reader, record)
            if isinstance(example, Fault):
                faults.add(record.name, example)
            else:
                content = _content(example)
                digest.add(content)
                own.add(content)
        if any(finding.code == _UNKNOWN_COLUMN for finding in problems[found_before:]):
            faults.counts.pop(_MISSING_COLUMN, None)
        _tell(source, place, faults, problems, say, skip=skip, is_empty=not own.examples, found_before=found_before)
        counted = (own.value(), own.examples, own.bytes, dict(faults.counts), source.max_tokens)
        parts.append(Corpus([source], key, reader, *counted, first=position))
    skipped = sum((Counter(part.skipped) for part in parts), Counter[str]())
    return Corpus(sources, key, reader, digest.value(), digest.examples, digest.bytes, dict(skipped), parts=parts)


def _tell(
    source: SourceSpec,
    place: str,
    faults: Faults,
    problems: list[Diagnostic],
    say: Say,
    *,
    skip: bool,
    is_empty: bool,
    found_before: int,
) -> None:
    """Appends what is wrong with a source, and says what is skipped of it."""
    problems += refused(faults, place, skip=skip and not is_empty)
    for code in faults.counts:
        if code == EMPTY or skip:
            say(f"warning {code} {faults.name(code)}: {faults.message(code, place, 'skipped')}")
    if is_empty and len(problems) == found_before:
        problems.append(_empty(source, place, faults.counts[EMPTY]))


def refused(faults: Faults, key: str, *, skip: bool, skipped: Collection[str] = (EMPTY,)) -> list[Diagnostic]:
    """Returns the findings about records that are of no use; none when all are skipped, or those with their codes."""
    way_out = "put them right, or set `data.bad_samples: skip`"
    codes = [code for code in faults.counts if code not in skipped and not skip]
    return [
        error(code, faults.name(code), faults.message(code, key, "cannot be used"), help=way_out, key=key)
        for code in codes
    ]


def _records(source: SourceSpec, key: str, problems: list[Diagnostic]) -> Iterator[Record]:
    columns: Mapping[str, str] = getattr(source, "columns", {})
    for record in SOURCES[source.type](source, key, problems):
        yield _renamed(record, columns) if columns and not record.fault else record


def _renamed(record: Record, columns: Mapping[str, str]) -> Record:
    """Returns a record whose columns have the names that the task knows; the others stay as they are."""
    taken = {field: record.fields[column] for field, column in columns.items() if column in record.fields}
    others = {name: value for name, value in record.fields.items() if name not in (*columns, *columns.values())}
    return replace(record, fields={**others, **taken})


def _read(reader: Reader, record: Record) -> Example | Fault:
    return record.fault or reader.read(record)


def _content(example: Example) -> bytes:
    if set(example) == {"text"}:
        return example["text"].encode()
    return json.dumps(example, sort_keys=True, default=_hash_of).encode()


def _hash_of(value: Any) -> str:
    return blake2b(value, digest_size=16).hexdigest()


def _empty(source: SourceSpec, key: str, empty: int) -> Diagnostic:
    if empty:
        fact = f"`{key}` has only empty documents ({empty:,})"
        return error("ZT603", "empty-data", fact, help="name files with text in them", key=key)
    field = "part" if hasattr(source, "part") else "split"
    fact = f"`{key}` has no document in its {field} `{getattr(source, field)}`"
    way_out = f"validation takes about one document in twenty; use more of them, or `{field}: all`"
    return error("ZT603", "empty-data", fact, help=way_out, key=key)
