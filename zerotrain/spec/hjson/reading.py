"""A DeepSpeed config as DeepSpeed's own reader takes it, or as `json.load` does, and what is wrong with its text."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from zerotrain.diagnostic import Diagnostic, Place, error
from zerotrain.spec.hjson import findings
from zerotrain.spec.hjson.cursor import Cursor, Departure, Span
from zerotrain.spec.hjson.grammar import Grammar
from zerotrain.spec.hjson.scalars import NotHjson
from zerotrain.spec.tree import Mark, Path, Tree, dotted

_BYTE_ORDER_MARKS = ("\ufeff", "\u00ef\u00bb\u00bf")


@dataclass
class ConfigTree(Tree):
    """A config as DeepSpeed's own reader takes it, which reads HJSON."""

    text: str = ""
    """The whole file."""
    departures: list[Departure] = field(default_factory=list[Departure])
    """Where the text is not strict JSON, or not what it seems."""
    is_legible: bool = True
    """False for what is no config at all, whoever reads it."""


def parse_hjson(text: str, file: str) -> ConfigTree:
    """Reads a DeepSpeed config as DeepSpeed does, and as far as it can where DeepSpeed refuses it; never raises.

    What DeepSpeed refuses or takes for something else is among `findings`; `data` is None where nothing certain can
    be read.
    """
    mark = next((mark for mark in _BYTE_ORDER_MARKS if text.startswith(mark)), "")
    body = text.removeprefix(mark).replace("\r\n", "\n").replace("\r", "\n")
    tree = ConfigTree(lines={file: body.split("\n")}, text=text)
    nothing = "the file is empty" if _is_blank(body) else None
    grammar, refusal = (None, None) if nothing else _read(body, len(mark), tree)
    is_clear = refusal is None and isinstance(tree.data, dict)
    other = None if is_clear else findings.foreign(body)
    if grammar is None or other is not None:
        tree.data, tree.is_legible = None, False
        tree.findings.append(findings.not_a_config(nothing or f"the file is {other}, not a config", file))
        return tree
    _annotate(tree, grammar, file, has_mark=bool(mark))
    tree.findings += _about(tree, grammar, refusal, file)
    return tree


def as_json(tree: Tree) -> Tree:
    """Returns a config as HF Trainer and Accelerate read it, with `json.load`; a tree of YAML as it is."""
    if not isinstance(tree, ConfigTree) or not tree.is_legible:
        return tree
    file = next(iter(tree.lines))
    try:
        data = json.loads(tree.text)
    except (ValueError, RecursionError) as broken:
        return _refused_by_json(tree, broken, file)
    found = [*findings.about_root(data, file), *findings.about_json(tree.departures, is_refused=False)]
    return Tree(data, tree.marks, tree.lines, found)


def _is_blank(body: str) -> bool:
    cursor = Cursor(body, tolerant=True)
    cursor.skip()
    return cursor.at == len(body) and not cursor.refusals


def _read(body: str, shift: int, tree: ConfigTree) -> tuple[Grammar, NotHjson | None]:
    """Reads strictly, and again tolerantly when the text is refused; returns why it is."""
    grammar = Grammar(body, shift=shift)
    try:
        tree.data = grammar.read()
        return grammar, None
    except NotHjson as refusal:
        return _read_tolerantly(body, shift, tree), refusal


def _read_tolerantly(body: str, shift: int, tree: ConfigTree) -> Grammar:
    grammar = Grammar(body, tolerant=True, shift=shift)
    try:
        data = grammar.read()
        tree.data = None if grammar.is_lost else data
    except NotHjson as fatal:
        grammar.forget()
        grammar.refusals, tree.is_legible = [fatal], False
    return grammar


def _annotate(tree: ConfigTree, grammar: Grammar, file: str, *, has_mark: bool) -> None:
    """Gives the tree its marks and departures."""
    spans = grammar.spans
    if grammar.tolerant or any(departure.kind == "duplicate" for departure in grammar.departures):
        spans = {path: span for path, span in spans.items() if _stands(tree.data, path)}
    tree.marks = {path: _mark(grammar, span, file) for path, span in spans.items()}
    first = [Departure("byte-order-mark", 0, 1)] if has_mark else []
    for departure in [*first, *grammar.departures]:
        place = _place(tree, grammar, file, departure.start, departure.end, departure.path)
        written = grammar.text[departure.start : departure.end]
        tree.departures.append(replace(departure, place=place, written=written))


def _about(tree: ConfigTree, grammar: Grammar, refusal: NotHjson | None, file: str) -> list[Diagnostic]:
    """Returns what is wrong with the text when DeepSpeed reads it."""
    refusals = grammar.refusals
    found = list(findings.about(tree.departures, is_refused=refusal is not None))
    if refusal is None:
        return [*found, *findings.about_root(tree.data, file)]
    if not refusals and not any(finding.is_error and finding.code != "ZT004" for finding in found):
        refusals = [refusal]
    places = [_place(tree, grammar, file, broken.start, broken.end) for broken in refusals]
    said = [error("ZT030", "invalid-json", broken.fact, help=broken.help) for broken in refusals]
    return [*(finding.at(place) for finding, place in zip(said, places)), *found]


def _refused_by_json(tree: ConfigTree, broken: Exception, file: str) -> Tree:
    found = [finding for finding in tree.findings if finding.code in ("ZT030", "ZT035")]
    found += findings.about_json(tree.departures, is_refused=True)
    if not any(finding.is_error for finding in found):
        found.append(_stopped(tree, broken, file))
    return Tree(_as_meant(tree), tree.marks, tree.lines, found)


def _stopped(tree: ConfigTree, broken: Exception, file: str) -> Diagnostic:
    line, column = getattr(broken, "lineno", 1), getattr(broken, "colno", 1)
    why = str(broken).partition(":")[0].lower()
    fact = f"HF Trainer and Accelerate read with `json.load`, which stops here: {why}"
    return error("ZT030", "invalid-json", fact).at(Place(file, line, column, None, tree.lines[file][line - 1]))


def _as_meant(tree: ConfigTree) -> Any:
    """Returns the values with what was probably meant by text without quotes; None when a placeholder hides one."""
    if any(departure.kind == "placeholder" for departure in tree.departures):
        return None
    data = deepcopy(tree.data)
    for departure in tree.departures:
        if departure.path and departure.kind in ("bare-text", "python-literal", "odd-number", "not-a-number"):
            _put(data, departure.path, departure.meaning)
    return data


def _put(data: Any, path: Path, value: Any) -> None:
    if _stands(data, path):
        for part in path[:-1]:
            data = data[part]
        data[path[-1]] = value


def _stands(data: Any, path: Path) -> bool:
    for part in path:
        values: Any = data if isinstance(data, dict | list) else ()
        if part not in (values if isinstance(values, dict) else range(len(values))):
            return False
        data = values[part]
    return True


def _mark(grammar: Grammar, span: Span, file: str) -> Mark:
    start, end, key_start, key_end = span
    return Mark(file, *grammar.spot(start, end), *grammar.spot(key_start, key_end))


def _place(tree: Tree, grammar: Grammar, file: str, start: int, end: int, path: Path = ()) -> Place:
    line, column, width = grammar.spot(start, end)
    return Place(file, line + 1, column + 1, dotted(path) or None, tree.lines[file][line], width)
