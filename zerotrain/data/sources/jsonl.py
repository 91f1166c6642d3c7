"""Lines of JSON, one record each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from zerotrain.data.sources.files import files_of
from zerotrain.data.sources.record import Fault, Record, in_split, read_text
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.sources import JsonlSource


def jsonl(source: JsonlSource, key: str, problems: list[Diagnostic]) -> Iterator[Record]:
    """Yields the lines of the files that the path or pattern names, named by file and number of the line.

    Empty lines are no records. A line that is not a JSON object is a record with a fault.
    """
    key = f"{key}.path"
    records = (record for path in files_of(source.path, key, problems) for record in _lines(path, key, problems))
    chosen = (record for record in records if record.fault or in_split(_identity(record.fields), source.split))
    return islice(chosen, source.max_documents)


def _lines(path: Path, key: str, problems: list[Diagnostic]) -> Iterator[Record]:
    content = read_text(path, str(path), key, problems) or ""
    for number, line in enumerate(content.removeprefix("\ufeff").split("\n"), start=1):
        if line.strip():
            yield _record(f"{path}:{number}", line)


def _record(name: str, line: str) -> Record:
    try:
        fields = json.loads(line)
    except ValueError as broken:
        return Record(name, {}, _broken(f"is not JSON: {broken}"))
    if not isinstance(fields, dict):
        return Record(name, {}, _broken(f"is not a JSON object but {type(fields).__name__}"))
    return Record(name, fields)


def _broken(fact: str) -> Fault:
    return Fault("ZT614", "broken-line", fact)


def _identity(fields: Any) -> bytes:
    return json.dumps(fields, sort_keys=True).encode()
