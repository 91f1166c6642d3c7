"""Plain UTF-8 text files, one document each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from zerotrain.data.sources.files import files_of
from zerotrain.data.sources.record import Record, in_split, read_text
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.sources import TextSource


def text(source: TextSource, key: str, problems: list[Diagnostic]) -> Iterator[Record]:
    """Yields the files that the path or pattern names, sorted by path.

    Copies of a text are always in the same split, because the split goes by content.
    """
    key = f"{key}.path"
    records = _records(files_of(source.path, key, problems), key, problems)
    chosen = (record for record in records if in_split(record.fields["text"].encode(), source.split))
    return islice(chosen, source.max_documents)


def _records(files: Iterable[Path], key: str, problems: list[Diagnostic]) -> Iterator[Record]:
    for path in files:
        content = read_text(path, str(path), key, problems)
        if content is not None:
            yield Record(str(path), {"text": content})
