"""A file's values with the position of every key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from zerotrain.diagnostic import Diagnostic, Place, error
from zerotrain.spec.nodes import Node, NotYaml, compose
from zerotrain.spec.scalars import scalar

Path = tuple[str | int, ...]

_MOST_VALUES = 100_000
_INDEX = re.compile(r"^[0-9]{1,9}$")
_HARMLESS_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}
_TEXT_TAG = "tag:yaml.org,2002:str"
_SURROGATES = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


@dataclass(frozen=True)
class Mark:
    """Where a key and its value stand, counted from 0."""

    file: str
    line: int
    column: int
    width: int
    key_line: int
    key_column: int
    key_width: int


@dataclass
class Tree:
    """Values read from one or more files, with marks and everything that was wrong."""

    data: Any = None
    marks: dict[Path, Mark] = field(default_factory=dict[Path, Mark])
    lines: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    findings: list[Diagnostic] = field(default_factory=list[Diagnostic])

    def place(self, path: Path, *, on_key: bool = False) -> Place:
        """Returns the position of a key or its value, or of the nearest parent that stands in a file."""
        known = path
        while known and known not in self.marks:
            known = known[:-1]
        mark = self.marks.get(known)
        if mark is None:
            return Place(file=next(iter(self.lines), None), line=1, column=1, key=dotted(path) or None)
        at_key = on_key or known != path
        line, column = (mark.key_line, mark.key_column) if at_key else (mark.line, mark.column)
        text = self.lines.get(mark.file, [])
        return Place(
            file=mark.file,
            line=line + 1,
            column=column + 1,
            key=dotted(path) or None,
            source_line=text[line] if line < len(text) else None,
            width=max(1, mark.key_width if at_key else mark.width),
        )

    def place_of(self, key: str, *, on_key: bool = False) -> Place:
        """Returns the position of a dotted key, whose parts may themselves have dots."""
        return self.place(self.path_of(key), on_key=on_key)

    def path_of(self, key: str) -> Path:
        """Returns the path of a dotted key: one that is written, if there is one of that text."""
        return self._written.get(key, undotted(key))

    @property
    def _written(self) -> dict[str, Path]:
        return {dotted(path): path for path in self.marks}


def dotted(path: Path) -> str:
    """Returns `data.train[0].path` for ("data", "train", 0, "path")."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def undotted(key: str) -> Path:
    """Returns ("data", "train", 0, "path") for `data.train[0].path` or `data.train.0.path`."""
    parts = re.findall(r"[^.\[\]]+", key)
    return tuple(int(part) if _INDEX.match(part) else part for part in parts)


def parse(text: str, file: str) -> Tree:
    """Reads YAML or JSON text. What is wrong is in `findings`; `data` is None when nothing could be read."""
    tree = Tree(lines={file: text.splitlines()})
    if file.endswith(".json"):
        text = _SURROGATES.sub(_character, text.replace("\t", " "))
    try:
        root = compose(text)
        if root is not None:
            tree.data = _Reader(tree, file, text).read(root)
    except NotYaml as broken:
        tree.data = None
        tree.findings.append(_syntax_error(broken, file, tree))
    return tree


def _character(pair: re.Match[str]) -> str:
    """Returns the character a pair of JSON's escapes stands for; YAML has no pairs."""
    return bytes.fromhex(pair[1] + pair[2]).decode("utf-16-be")


def _syntax_error(broken: NotYaml, file: str, tree: Tree) -> Diagnostic:
    lines, spot = tree.lines[file], broken.spot
    shown = lines[spot.line] if spot.line < len(lines) else None
    place = Place(file=file, line=spot.line + 1, column=spot.column + 1, source_line=shown)
    help = "check quotes, brackets and indentation before this place; tabs cannot indent"
    return error("ZT003", "invalid-yaml", f"not valid YAML: {broken.fact}", help=help).at(place)


class _Reader:
    """Walks nodes into values and marks."""

    def __init__(self, tree: Tree, file: str, text: str) -> None:
        self.tree, self.file, self.text = tree, file, text
        self.open, self.count = set[int](), 0

    def read(self, root: Node) -> Any:
        return self._value(root, ())

    def _value(self, node: Node, path: Path) -> Any:
        self.count += 1
        if self.count > _MOST_VALUES:
            raise NotYaml(f"the file has more than {_MOST_VALUES:,} values", node.start)
        if id(node) in self.open:
            self._report(node, path, "an alias refers to what it stands in")
            return None
        self.open.add(id(node))
        try:
            return self._inside(node, path)
        finally:
            self.open.discard(id(node))

    def _inside(self, node: Node, path: Path) -> Any:
        if node.tag is not None and node.tag not in _HARMLESS_TAGS:
            self._report(node, path, f"the tag `{node.tag}` means nothing here")
        if node.kind == "mapping":
            return self._mapping(node, path)
        if node.kind == "sequence":
            return [self._item(child, (*path, index)) for index, child in enumerate(node.items)]
        return scalar(node.text) if node.is_plain and node.tag != _TEXT_TAG else node.text

    def _item(self, node: Node, path: Path) -> Any:
        self._mark(path, node, node)
        return self._value(node, path)

    def _mapping(self, node: Node, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in node.pairs:
            if not _is_merge(key):
                if self._name(key) in values:
                    self._duplicate(key, (*path, self._name(key)))
                self._enter(values, key, value, path)
        for key, value in self._merged(node, path):
            if self._name(key) not in values:
                self._enter(values, key, value, path)
        return values

    def _enter(self, values: dict[str, Any], key: Node, value: Node, path: Path) -> None:
        name = self._name(key)
        self._mark((*path, name), value, key)
        values[name] = self._value(value, (*path, name))

    def _merged(self, node: Node, path: Path) -> Iterator[tuple[Node, Node]]:
        """Yields the pairs that `<<:` brings in, those that count first."""
        for key, value in node.pairs:
            if _is_merge(key):
                for source in value.items if value.kind == "sequence" else [value]:
                    yield from self._merged_from(source, path)

    def _merged_from(self, source: Node, path: Path) -> Iterator[tuple[Node, Node]]:
        if source.kind != "mapping" or id(source) in self.open:
            self._report(source, path, "`<<` merges mappings, and none that it stands in")
            return
        self.open.add(id(source))
        yield from (pair for pair in source.pairs if not _is_merge(pair[0]))
        yield from self._merged(source, path)
        self.open.discard(id(source))

    def _name(self, key: Node) -> str:
        return key.text if key.kind == "scalar" else self.text[key.start.index : key.end.index].strip()

    def _duplicate(self, key: Node, path: Path) -> None:
        first = self.tree.place(path, on_key=True)
        self._mark(path, key, key)
        message = f"`{dotted(path)}` stands here a second time; it is first on line {first.line}"
        finding = error("ZT004", "duplicate-key", message, help="keep one of the two")
        self.tree.findings.append(finding.at(self.tree.place(path, on_key=True)))

    def _report(self, node: Node, path: Path, fact: str) -> None:
        lines = self.tree.lines[self.file]
        line = lines[node.start.line] if node.start.line < len(lines) else None
        key = dotted(path) or None
        place = Place(self.file, node.start.line + 1, node.start.column + 1, key, line, max(1, _width(node)))
        self.tree.findings.append(error("ZT003", "invalid-yaml", fact).at(place))

    def _mark(self, path: Path, value: Node, key: Node) -> None:
        here, there = value.start, key.start
        self.tree.marks[path] = Mark(
            self.file, here.line, here.column, _width(value), there.line, there.column, _width(key)
        )


def _is_merge(key: Node) -> bool:
    return key.kind == "scalar" and key.is_plain and key.text == "<<"


def _width(node: Node) -> int:
    return node.end.column - node.start.column if node.end.line == node.start.line else 1
