"""The columns that a source is told to rename, and those that there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from zerotrain.data.sources.record import Record
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.spec.suggest import listed, nearest

_LISTED = 12


def unknown_columns(columns: Mapping[str, str], known: Iterable[str], name: str, key: str) -> list[Diagnostic]:
    """Returns a finding (ZT632) for each column that the spec names and the data with this name does not have."""
    there = list(known)
    return [_unknown(field, column, there, name, key) for field, column in columns.items() if column not in there]


def with_known_columns(
    records: Iterable[Record], columns: Mapping[str, str], name: str, key: str, problems: list[Diagnostic]
) -> Iterator[Record]:
    """Yields the records; appends a finding (ZT632) at the end for each column of the spec that none of them has."""
    seen: dict[str, None] = {}
    for record in records:
        seen.update(dict.fromkeys(record.fields))
        yield record
    if seen:
        problems += unknown_columns(columns, seen, name, key)


def _unknown(field: str, column: str, known: list[str], name: str, key: str) -> Diagnostic:
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    fact = f"`{name}` has no column `{column}`, only {listed(known[:_LISTED], 'and')}{more}"
    close = nearest(column, known)
    way_out = f"did you mean `{close}`?" if close else "name the column that holds it"
    return error("ZT632", "unknown-column", fact, help=way_out, key=f"{key}.columns.{field}")
