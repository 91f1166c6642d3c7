"""Tables of text: values separated by commas, tabs or another character."""

from __future__ import annotations

import csv as standard
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from zerotrain.data.sources.columns import unknown_columns
from zerotrain.data.sources.files import files_of, lines_of
from zerotrain.data.sources.record import Fault, Record, chosen
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.sources import CsvSource

_SEPARATORS = {"\t": r"\t", ";": ";", "|": "|", ",": ","}


def csv(source: CsvSource, key: str, problems: list[Diagnostic]) -> Iterator[Record]:
    """Yields the rows of the files that the path or pattern names, named by file and the number of their last line.

    Every value is text. Empty lines are no rows; a row that has more or fewer cells than the first one, or quotes that
    do not end, is a record with a fault.
    """
    files = files_of(source.path, f"{key}.path", problems)
    records = (record for path in files for record in _rows(path, source, key, problems))
    return chosen(records, source.split, source.max_documents)


def _rows(path: Path, source: CsvSource, key: str, problems: list[Diagnostic]) -> Iterator[Record]:
    standard.field_size_limit(sys.maxsize)  # a limit of 128 KiB otherwise, which documents exceed
    lines = lines_of(path, f"{key}.path", problems)
    reader = standard.reader(lines, delimiter=source.delimiter, strict=True)
    names: Sequence[str] | None = None
    for cells in _cells(reader):
        name = f"{path}:{reader.line_num}"
        if isinstance(cells, Fault):
            yield Record(name, {}, cells)
        elif names is None:
            names = cells if source.header else [str(number) for number in range(len(cells))]
            if not _is_known(names, path, source, key, problems):
                return
            if not source.header:
                yield _record(name, names, cells)
        elif cells:
            yield _record(name, names, cells)


def _cells(reader: Iterator[list[str]]) -> Iterator[list[str] | Fault]:
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except standard.Error as broken:
            yield Fault("ZT614", "broken-line", f"is no row of a table: {broken}")


def _record(name: str, names: Sequence[str], cells: Sequence[str]) -> Record:
    if len(cells) != len(names):
        fact = f"has {len(cells)} cells, and the first row has {len(names)}"
        return Record(name, {}, Fault("ZT614", "broken-line", fact))
    return Record(name, dict(zip(names, cells, strict=True)))


def _is_known(names: Sequence[str], path: Path, source: CsvSource, key: str, problems: list[Diagnostic]) -> bool:
    unknown = unknown_columns(source.columns, names, str(path), key)
    other = next((shown for sign, shown in _SEPARATORS.items() if len(names) == 1 and sign in names[0]), None)
    if other:
        unknown = [
            replace(finding, help=f'the values may be separated by `delimiter: "{other}"`') for finding in unknown
        ]
    problems += unknown
    return not unknown
