"""Applies fixes to files: only the characters of a key or a value change."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from zerotrain.diagnostic import Diagnostic, Fix, Place, error
from zerotrain.errors import reason_of
from zerotrain.spec.load import COMMAND_LINE
from zerotrain.spec.scalars import scalar
from zerotrain.spec.tree import Path, Tree, parse

Parse = Callable[[str, str], Tree]
"""Reads the text of a file of that name."""

_MOST_ROUNDS = 10
_PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_BOM = "\ufeff"


@dataclass(frozen=True)
class Change:
    """What was fixed: the characters that went, and those that came."""

    place: Place
    code: str
    old: str
    new: str

    def __str__(self) -> str:
        place = self.place
        text = f"{place.file}:{place.line}:{place.column} {self.code}: {self.old} -> {self.new}"
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


@dataclass(frozen=True)
class Repair:
    """What was fixed, and what remains."""

    changes: Sequence[Change]
    findings: Sequence[Diagnostic]


@dataclass(frozen=True)
class _Wanted:
    code: str
    fix: Fix
    path: Path
    order: tuple[int, int]
    """Line and column."""


def fix_all(
    look: Callable[[], tuple[Sequence[Diagnostic], Tree]],
    choose: Callable[[Sequence[Diagnostic]], Sequence[Diagnostic]] = lambda found: found,
    read: Parse = parse,
) -> Repair:
    """Looks and fixes until nothing more can be fixed.

    Of the findings only the chosen ones are fixed. A fix counts only when the file, read again, holds exactly what it
    held before, but for the key that was renamed or the value that was set.
    """
    changes: list[Change] = []
    for _ in range(_MOST_ROUNDS):
        found, tree = look()
        done, refused = _apply(choose(found), tree, read)
        changes += done
        if not done:
            return Repair(changes, [*found, *refused])
    return Repair(changes, look()[0])


def _apply(findings: Iterable[Diagnostic], tree: Tree, read: Parse) -> tuple[list[Change], list[Diagnostic]]:
    wanted: dict[str, list[_Wanted]] = {}
    for finding in findings:
        path = tree.path_of(finding.fix.key) if finding.fix else ()
        mark = tree.marks.get(path)
        if finding.fix and mark and mark.file != COMMAND_LINE:
            order = (mark.key_line, mark.key_column)
            wanted.setdefault(mark.file, []).append(_Wanted(finding.code, finding.fix, path, order))
    changes, refused = list[Change](), list[Diagnostic]()
    for file, fixes in wanted.items():
        try:
            changes += _rewrite(file, fixes, read)
        except OSError as broken:
            refused.append(_unfixable(file, broken))
    return changes, refused


def _rewrite(file: str, wanted: Iterable[_Wanted], read: Parse) -> list[Change]:
    """Fixes one file from its end to its beginning, so that no fix moves the place of the next one."""
    raw = FilePath(file).read_bytes().decode("utf-8")
    mark = _BOM if raw.startswith(_BOM) else ""
    text, changes = raw.removeprefix(_BOM), list[Change]()
    for one in sorted(_without_conflicts(wanted), key=lambda one: one.order, reverse=True):
        changed = _changed(text, file, one, read)
        if changed is not None:
            text, change = changed
            changes.insert(0, change)
    if changes:
        _replace(FilePath(file), (mark + text).encode("utf-8"))
    return changes


def _without_conflicts(wanted: Iterable[_Wanted]) -> Iterator[_Wanted]:
    """Yields the fixes that no other one contradicts, each once."""
    distinct = {(one.path, repr(one.fix.value), one.fix.renames): one for one in wanted}.values()
    targets = [_targets(one) for one in distinct]
    for one in distinct:
        if not any(_targets(one) & other for other in targets if other != _targets(one)):
            yield one


def _targets(one: _Wanted) -> frozenset[tuple[Any, ...]]:
    """Returns what a fix lays claim to: its key as it is, and the name it gives it."""
    own = (*one.path, "", repr(one.fix.value))
    return frozenset({one.path, (*one.path[:-1], one.fix.value)} if one.fix.renames else {one.path, own})


def _changed(text: str, file: str, one: _Wanted, read: Parse) -> tuple[str, Change] | None:
    """Returns the text with one fix in it, or None when it would not do exactly what is meant."""
    tree = read(text, file)
    path = one.path if one.path in tree.marks else one.path[:-1]
    mark, expected = tree.marks.get(path), _expected(tree.data, path, one.fix)
    if mark is None or expected is None or (path != one.path and one.fix.renames):
        return None
    line, column, width = (
        (mark.key_line, mark.key_column, mark.key_width) if one.fix.renames else (mark.line, mark.column, mark.width)
    )
    lines = text.splitlines(keepends=True)
    if line >= len(lines):
        return None
    before, old, after = lines[line][:column], lines[line][column : column + width], lines[line][column + width :]
    new = _name(old, str(one.fix.value)) if one.fix.renames else _value(old, one.fix.value, file)
    lines[line] = f"{before}{new}{after}"
    draft = "".join(lines)
    again = read(draft, file)
    if repr(again.data) != repr(expected) or len(again.findings) > len(tree.findings):
        return None
    said = (str(path[-1]), str(one.fix.value)) if one.fix.renames else (old, new)
    return draft, Change(Place(file, line + 1, column + 1), one.code, *said)


def _expected(data: Any, path: Path, fix: Fix) -> Any:
    """Returns what the file is to hold, or None when the key cannot be changed so."""
    try:
        whole = copy.deepcopy(data)
        owner = whole
        for part in path[:-1]:
            owner = owner[part]
        if not fix.renames:
            owner[path[-1]] = json.loads(json.dumps(fix.value, allow_nan=False))
        elif fix.value in owner or path[-1] not in owner:
            return None
        else:
            renamed = {fix.value if key == path[-1] else key: value for key, value in owner.items()}
            owner.clear()
            owner.update(renamed)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None
    return whole


def _name(old: str, name: str) -> str:
    quote = old[:1] if old[:1] in ("'", '"') else ""
    return f"{quote}{name}{quote}" if _PLAIN.fullmatch(name) else json.dumps(name)


def _value(old: str, value: Any, file: str) -> str:
    is_json, bare = not file.endswith((".yaml", ".yml")), old.strip("'\"")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and scalar(bare) == value and (_JSON_NUMBER.fullmatch(bare) or not is_json):
        return bare
    if isinstance(value, str) and not is_json and old[:1] not in ("'", '"') and _is_plain(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _is_plain(text: str) -> bool:
    return _PLAIN.fullmatch(text) is not None and scalar(text) == text


def _replace(path: FilePath, content: bytes) -> None:
    """Replaces a file at once, keeping its rights; raises OSError for one that is read-only."""
    target = path.resolve()
    if not (os.access(target, os.W_OK) and target.stat().st_mode & 0o222):
        raise PermissionError(13, "permission denied")
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        draft.touch(mode=0o600, exist_ok=False)
        draft.write_bytes(content)
        shutil.copymode(target, draft)
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _unfixable(file: str, broken: OSError) -> Diagnostic:
    message = f"cannot write `{file}`: {reason_of(broken)}"
    help = "make the file and its directory writable, or make the change by hand"
    return error("ZT042", "unfixable-file", message, help=help).at(Place(file))
