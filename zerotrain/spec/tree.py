"""YAML as plain values with the position of every key.

Scalars follow YAML 1.2's core schema, not 1.1's as PyYAML does: `1e-4` is a number, `yes` and `on` are strings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from zerotrain.diagnostic import Diagnostic, Place, Severity, error

Path = tuple[str | int, ...]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_NODES = 100_000
_INT = re.compile(r"^[-+]?[0-9][0-9_]*$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9_]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?$")
_CONSTANTS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


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
    marks: dict[Path, Mark] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)
    findings: list[Diagnostic] = field(default_factory=list)

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


def dotted(path: Path) -> str:
    """Returns `data.train[0].path` for ("data", "train", 0, "path")."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def undotted(key: str) -> Path:
    """Returns ("data", "train", 0, "path") for `data.train[0].path` or `data.train.0.path`."""
    parts = re.findall(r"[^.\[\]]+", key)
    return tuple(int(part) if part.isdigit() else part for part in parts)


def parse(text: str, file: str) -> Tree:
    """Reads YAML or JSON text. What is wrong is in `findings`; `data` is None when nothing could be read."""
    tree = Tree(lines={file: text.splitlines()})
    try:
        root = yaml.compose(text.replace("\t", " ") if file.endswith(".json") else text, Loader=_LOADER)
    except yaml.YAMLError as broken:
        tree.findings.append(_syntax_error(broken, file, tree))
        return tree
    if root is not None:
        _Reader(tree, file).read(root)
    return tree


def scalar(text: str) -> object:
    """Returns the value of a plain (unquoted) scalar."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.match(text):
        return int(text.replace("_", ""))
    if text.startswith(("0x", "0o")):
        try:
            return int(text, 0)
        except ValueError:
            return text
    return float(text.replace("_", "")) if _FLOAT.match(text) else text


def _syntax_error(broken: yaml.YAMLError, file: str, tree: Tree) -> Diagnostic:
    mark = getattr(broken, "problem_mark", None)
    fact = getattr(broken, "problem", None) or str(broken).splitlines()[0]
    place = Place(file=file, line=1, column=1)
    if mark is not None:
        lines = tree.lines[file]
        shown = lines[mark.line] if mark.line < len(lines) else None
        place = Place(file=file, line=mark.line + 1, column=mark.column + 1, source_line=shown)
    help = "check quotes, brackets and indentation before this place; tabs cannot indent"
    return error("ZT003", "invalid-yaml", f"the file is not valid YAML: {fact}", help=help).at(place)


class _Reader:
    """Walks YAML nodes into values and marks."""

    def __init__(self, tree: Tree, file: str) -> None:
        self.tree, self.file, self.open, self.count = tree, file, set[int](), 0

    def read(self, root: yaml.Node) -> None:
        self.tree.data = self._value(root, ())

    def _value(self, node: yaml.Node, path: Path) -> Any:
        self.count += 1
        if id(node) in self.open or self.count > _MAX_NODES:
            self._report(node, path, "an alias refers to itself, or aliases multiply without end")
            return None
        self.open.add(id(node))
        try:
            return self._inside(node, path)
        finally:
            self.open.discard(id(node))

    def _inside(self, node: yaml.Node, path: Path) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(child, (*path, index)) for index, child in enumerate(node.value)]
        if node.tag.startswith("!"):
            self._report(node, path, f"the tag `{node.tag}` means nothing here")
        is_plain = not getattr(node, "style", None)
        return scalar(node.value) if is_plain else node.value

    def _item(self, node: yaml.Node, path: Path) -> Any:
        self._mark(path, node, node)
        return self._value(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in node.value:
            if not _is_merge(key):
                if str(key.value) in values:
                    self._duplicate(key, (*path, str(key.value)))
                self._enter(values, key, value, path)
        for key, value in _merged_pairs(node):
            if str(key.value) not in values:
                self._enter(values, key, value, path)
        return values

    def _enter(self, values: dict[str, Any], key: yaml.Node, value: yaml.Node, path: Path) -> None:
        name = str(key.value)
        self._mark((*path, name), value, key)
        values[name] = self._value(value, (*path, name))

    def _duplicate(self, key_node: yaml.Node, path: Path) -> None:
        first = self.tree.place(path, on_key=True)
        self._mark(path, key_node, key_node)
        message = f"`{dotted(path)}` stands here a second time; it is first on line {first.line}"
        finding = error("ZT004", "duplicate-key", message, help="keep one of the two")
        self.tree.findings.append(finding.at(self.tree.place(path, on_key=True)))

    def _report(self, node: yaml.Node, path: Path, fact: str) -> None:
        self._mark(path, node, node)
        finding = Diagnostic("ZT003", "invalid-yaml", Severity.ERROR, fact, self.tree.place(path))
        self.tree.findings.append(finding)

    def _mark(self, path: Path, value: yaml.Node, key: yaml.Node) -> None:
        self.tree.marks[path] = Mark(
            self.file,
            value.start_mark.line,
            value.start_mark.column,
            _width(value),
            key.start_mark.line,
            key.start_mark.column,
            _width(key),
        )


def _is_merge(key: yaml.Node) -> bool:
    return key.tag == "tag:yaml.org,2002:merge"


def _merged_pairs(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """Yields the pairs that `<<:` brings in."""
    for key, value in node.value:
        if _is_merge(key) and isinstance(value, yaml.MappingNode):
            yield from value.value


def _width(node: yaml.Node) -> int:
    start, end = node.start_mark, node.end_mark
    return end.column - start.column if end.line == start.line else 1
