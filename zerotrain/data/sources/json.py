"""Records of JSON: one on each line, or all in one list."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zerotrain.data.sources.columns import with_known_columns
from zerotrain.data.sources.files import files_of, lines_of
from zerotrain.data.sources.record import Fault, Record, chosen, read_text, unreadable
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.sources import JsonlSource, JsonSource

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def jsonl(source: JsonlSource, key: str, problems: list[Diagnostic]) -> Iterator[Record]:
    """Yields the lines of the files that the path or pattern names, named by file and number of the line.

    Empty lines are no records. A line that is not a JSON object is a record with a fault. One line is held at a time.
    """
    files = files_of(source.path, f"{key}.path", problems)
    records = (record for path in files for record in _lines(path, f"{key}.path", problems))
    taken = chosen(records, source.split, source.max_documents)
    return with_known_columns(taken, source.columns, source.path, key, problems)


def json_list(source: JsonSource, key: str, problems: list[Diagnostic]) -> Iterator[Record]:
    """Yields the elements of the list in each file, named by file and the number of the line each begins on.

    The list is the whole file, or stands under `data` in an object. A file that is neither, or ends too soon, is a
    finding (ZT604); an element that is not an object is a record with a fault.
    """
    files = files_of(source.path, f"{key}.path", problems)
    records = (record for path in files for record in _elements(path, f"{key}.path", problems))
    taken = chosen(records, source.split, source.max_documents)
    return with_known_columns(taken, source.columns, source.path, key, problems)


def _lines(path: Path, key: str, problems: list[Diagnostic]) -> Iterator[Record]:
    for number, line in enumerate(lines_of(path, key, problems), start=1):
        if line.strip():
            yield _record(f"{path}:{number}", line)


def _record(name: str, line: str) -> Record:
    try:
        return _checked(name, json.loads(line))
    except (ValueError, RecursionError) as broken:
        return Record(name, {}, _broken(f"is not JSON: {broken}"))


def _checked(name: str, fields: Any) -> Record:
    if isinstance(fields, dict):
        return Record(name, fields)
    return Record(name, {}, _broken(f"is not a JSON object but {type(fields).__name__}"))


def _broken(fact: str) -> Fault:
    return Fault("ZT614", "broken-line", fact)


def _elements(path: Path, key: str, problems: list[Diagnostic]) -> Iterator[Record]:
    text = read_text(path, str(path), key, problems)
    if text is None:
        return
    text = text.removeprefix("\ufeff")
    line, counted = 1, 0
    try:
        for begin, element in _Reading(text).elements():
            line, counted = line + text.count("\n", counted, begin), begin
            yield _checked(f"{path}:{line}", element)
    except (ValueError, RecursionError) as broken:
        help = 'mend the file; it holds a list of records, or `{"data": [...]}`; lines of JSON are a `jsonl`'
        problems.append(unreadable(str(path), f"it is not a list of records in JSON: {broken}", key, help))


class _Reading:
    """Goes through a JSON text, and knows where each record begins."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def elements(self) -> Iterator[tuple[int, Any]]:
        """Yields each element of the list and where it begins; raises ValueError where the text is none."""
        if self._takes("{"):
            self._find_data()
        elif not self._takes("["):
            raise self._wrong("expected `[` or `{`")
        while not self._takes("]"):
            self._skip()
            yield self._at, self._value()
            if not self._takes(","):
                self._expect("]")
                break

    def _find_data(self) -> None:
        """Goes to the first element of the list under `data`."""
        while not self._takes("}"):
            self._skip()
            name = self._value()
            self._expect(":")
            if name == "data":
                return self._expect("[")
            self._value()
            if not self._takes(","):
                break
        raise self._wrong("there is no list under `data`")

    def _value(self) -> Any:
        self._skip()
        value, self._at = _DECODER.raw_decode(self._text, self._at)
        return value

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _takes(self, character: str) -> bool:
        self._skip()
        found = self._text.startswith(character, self._at)
        self._at += found
        return found

    def _expect(self, character: str) -> None:
        if not self._takes(character):
            raise self._wrong(f"expected `{character}`")

    def _wrong(self, what: str) -> ValueError:
        return json.JSONDecodeError(what, self._text, self._at)
