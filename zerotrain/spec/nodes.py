"""YAML text as nodes with their places, built from the parser's events.

PyYAML could build nodes itself, but it does not keep which tags were written, and its C parser ends the process on
deep nesting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST = 100
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Spot:
    """A place in a text, counted from 0."""

    line: int
    column: int
    index: int


class NotYaml(ValueError):
    """The text is not YAML; says why and where."""

    def __init__(self, fact: str, spot: Spot) -> None:
        super().__init__(fact)
        self.fact, self.spot = fact, spot


@dataclass
class Node:
    """A value as it is written."""

    kind: Literal["scalar", "sequence", "mapping"]
    start: Spot
    end: Spot
    tag: str | None
    """Only where one is written."""
    text: str = ""
    is_plain: bool = False
    items: list[Node] = field(default_factory=list["Node"])
    """Of a sequence."""
    pairs: list[tuple[Node, Node]] = field(default_factory=list["tuple[Node, Node]"])
    """Of a mapping."""


def compose(text: str) -> Node | None:
    """Returns the only document's value, or None when there is none; raises NotYaml."""
    forbidden = _FORBIDDEN.search(text)
    if forbidden:
        raise NotYaml(f"the character {forbidden[0]!r} is not allowed", _spot_at(text, forbidden.start()))
    try:
        return _Composer(yaml.parse(text, Loader=_LOADER)).document()
    except yaml.YAMLError as broken:
        mark = getattr(broken, "problem_mark", None)
        fact = getattr(broken, "problem", None) or str(broken).splitlines()[0]
        raise NotYaml(fact, _spot(mark) if mark else Spot(0, 0, 0)) from None


class _Composer:
    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._anchors: dict[str, Node] = {}

    def document(self) -> Node | None:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise NotYaml("a second document begins here", _spot(event.start_mark))
                root = self._node(next(self._events), 0)
        return root

    def _node(self, event: Any, depth: int) -> Node:
        start = _spot(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor, start)
        if depth > _DEEPEST:
            raise NotYaml(f"nothing may be nested deeper than {_DEEPEST} levels", start)
        node = Node("scalar", start, _spot(event.end_mark), event.tag)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        if isinstance(event, yaml.ScalarEvent):
            node.text, node.is_plain = event.value, not event.style
        elif isinstance(event, yaml.SequenceStartEvent):
            node.kind = "sequence"
            node.end = self._items(node, depth)
        else:
            node.kind = "mapping"
            node.end = self._pairs(node, depth)
        return node

    def _alias(self, anchor: str, start: Spot) -> Node:
        if anchor not in self._anchors:
            raise NotYaml(f"the alias `*{anchor}` names nothing before it", start)
        return self._anchors[anchor]

    def _items(self, node: Node, depth: int) -> Spot:
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            node.items.append(self._node(event, depth + 1))
        return _spot(event.end_mark)

    def _pairs(self, node: Node, depth: int) -> Spot:
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            node.pairs.append((key, self._node(next(self._events), depth + 1)))
        return _spot(event.end_mark)


def _spot(mark: Any) -> Spot:
    return Spot(mark.line, mark.column, mark.index)


def _spot_at(text: str, index: int) -> Spot:
    before = text[:index]
    return Spot(before.count("\n"), index - (before.rfind("\n") + 1), index)
