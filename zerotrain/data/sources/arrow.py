"""Tables in Arrow's memory layout: Parquet files, datasets saved to disk, and datasets of the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from zerotrain.data.sources.columns import unknown_columns
from zerotrain.data.sources.files import files_of, folder_of
from zerotrain.data.sources.record import Record, chosen, unreadable
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.spec.sources import FOLDER_SIGNS, ArrowSource, HubSource, ParquetSource
from zerotrain.spec.suggest import listed, nearest

_ROWS = 1000
"""Rows that are held at once."""

_SPLITS = re.compile(r"[Ss]plit.*\[(.*)\]")
_NAME = re.compile(r"'([^']*)'")
"""`datasets` tells the splits that there are only in the text of a ValueError (arrow_reader.py, load.py)."""


def parquet(source: ParquetSource, key: str, problems: list[Diagnostic]) -> Iterator[Record]:
    """Yields the rows of the files that the path or pattern names, named by file and number of the row, from 0."""
    files = files_of(source.path, f"{key}.path", problems)
    records = chain.from_iterable(_file_rows(path, source, key, problems) for path in files)
    return chosen(records, source.split, source.max_documents)


def arrow(source: ArrowSource, key: str, problems: list[Diagnostic]) -> Iterator[Record]:
    """Yields the rows of a folder that `datasets` has saved, named by folder and number of the row, from 0.

    Appends a finding: ZT604 when the folder is none, ZT633 when it does not have the split.
    """
    folder = folder_of(source.path, f"{key}.path", problems)
    dataset = _saved(folder, source, key, problems) if folder else None
    records = _rows(dataset, source.path, source.columns, key, problems) if dataset is not None else iter(())
    return chosen(records, source.part, source.max_documents)


def hub(source: HubSource, key: str, problems: list[Diagnostic]) -> Iterator[Record]:
    """Yields the rows of a dataset of the hub, or of a folder of data files, named by its id and number of the row.

    Appends a finding: ZT634 when it cannot be loaded, ZT633 when it does not have the split.
    """
    dataset = _loaded(source, key, problems)
    records = _rows(dataset, source.id, source.columns, key, problems) if dataset is not None else iter(())
    return chosen(records, source.part, source.max_documents)


def _file_rows(path: Path, source: ParquetSource, key: str, problems: list[Diagnostic]) -> Iterator[Record]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            unknown = unknown_columns(source.columns, file.schema_arrow.names, str(path), key)
            problems += unknown
            if not unknown:
                yield from _records(file.iter_batches(_ROWS), str(path))
    except (OSError, ArrowException) as broken:
        reason = _first_line(broken)
        problems.append(unreadable(str(path), reason, f"{key}.path", "put a whole Parquet file there, or leave it out"))


def _rows(
    dataset: Any, name: str, columns: Mapping[str, str], key: str, problems: list[Diagnostic]
) -> Iterator[Record]:
    """Yields the rows of a dataset; what fails on the way, such as a download, is a finding (ZT634)."""
    known = dataset.column_names  # None for a stream whose files do not say
    unknown = unknown_columns(columns, known, name, key) if known else []
    problems += unknown
    try:
        if not unknown:
            yield from _records(dataset.with_format("arrow").iter(_ROWS), name)
    except Exception as failure:  # the hub, file systems and every file format have types of their own
        problems.append(_unloadable(name, failure, key))


def _records(tables: Iterable[Any], name: str) -> Iterator[Record]:
    rows = (row for table in tables for row in table.to_pylist())
    for number, row in enumerate(rows):
        yield Record(f"{name}:{number}", {column: _plain(value) for column, value in row.items()})


def _plain(value: Any) -> Any:
    """Returns the value; of an image in the layout of `datasets`, the bytes of its file."""
    if not isinstance(value, dict) or set(value) != {"bytes", "path"}:
        return value
    return value["bytes"] if value["bytes"] is not None else _content(value["path"])


def _content(path: str | None) -> bytes | None:
    return Path(path).read_bytes() if path else None


def _saved(folder: Path, source: ArrowSource, key: str, problems: list[Diagnostic]) -> Any:
    from datasets import Dataset, load_from_disk

    try:
        found = load_from_disk(str(folder))
    except Exception as failure:  # pyarrow, json and the file system have types of their own
        help = "name a folder that `Dataset.save_to_disk` wrote"
        problems.append(unreadable(str(folder), _first_line(failure), f"{key}.path", help))
        return None
    if isinstance(found, Dataset):
        if source.split in (None, str(found.split)):
            return found
        problems.append(_no_split(source.path, source.split, [str(found.split)] if found.split else [], key))
        return None
    if source.split in found:
        return found[source.split]
    problems.append(_no_split(source.path, source.split, list(map(str, found)), key))
    return None


def _loaded(source: HubSource, key: str, problems: list[Diagnostic]) -> Any:
    from datasets import load_dataset

    place = source.id
    if place.startswith(FOLDER_SIGNS):
        folder = folder_of(place, f"{key}.id", problems)
        if folder is None:
            return None
        place = str(folder)
    options: dict[str, Any] = {"split": source.split, "revision": source.revision, "streaming": source.streaming}
    try:
        return load_dataset(place, source.subset, **options)
    except Exception as failure:  # the hub, file systems and every file format have types of their own
        splits = _SPLITS.search(str(failure)) if isinstance(failure, ValueError) else None
        known = _NAME.findall(splits[1]) if splits else []
        problems.append(
            _no_split(source.id, source.split, known, key) if known else _unloadable(source.id, failure, key)
        )
        return None


def _no_split(name: str, split: str | None, known: Sequence[str], key: str) -> Diagnostic:
    there = f"only {listed(known, 'and')}" if known else "it is one dataset without a name"
    fact = f"`{name}` has no split `{split}`, {there}" if split else f"`{name}` has the splits {listed(known, 'and')}"
    close = nearest(split, known) if split else None
    way_out = f"did you mean `{close}`?" if close else f"set `split` to {listed(known)}" if known else "remove `split`"
    return error("ZT633", "unknown-split", fact, help=way_out, key=f"{key}.split" if split else key)


def _unloadable(name: str, failure: Exception, key: str) -> Diagnostic:
    fact = f"the dataset `{name}` cannot be loaded: {_first_line(failure)}"
    help = "check its id, subset and revision, and the network; a folder on this machine begins with `./` or `/`"
    return error("ZT634", "unloadable-dataset", fact, help=help, key=key)


def _first_line(failure: Exception) -> str:
    return next(iter(str(failure).splitlines()), type(failure).__name__)
