"""Files and command-line overrides to a `RunSpec`: defaults < extends < file < command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from pydantic import TypeAdapter, ValidationError

from zerotrain.diagnostic import Diagnostic, Place, error
from zerotrain.errors import SpecError, reason_of
from zerotrain.spec.hjson import parse_hjson
from zerotrain.spec.invalid import findings as invalid_findings
from zerotrain.spec.run import SHORT_FORMS, RunSpec
from zerotrain.spec.suggest import nearest
from zerotrain.spec.tree import Mark, Path, Tree, dotted, parse, undotted

COMMAND_LINE = "command line"


class UnreadSection(Exception):
    """A rule asked for a section that could not be read; the reason is already among the findings."""


class Unread:
    """Stands for a section that could not be read; looking into it raises `UnreadSection`."""

    def __getattr__(self, name: str) -> Any:
        raise UnreadSection

    def __iter__(self) -> Iterator[Any]:
        raise UnreadSection


@dataclass(frozen=True)
class Reading:
    """What was read: the spec as far as it is valid, where everything stands, and what is wrong."""

    spec: RunSpec | None
    """None when nothing could be read; sections that are not valid are `Unread`."""
    tree: Tree
    findings: Sequence[Diagnostic]

    @property
    def is_valid(self) -> bool:
        """True when the spec can be used."""
        return not any(finding.is_error for finding in self.findings)


def load_spec(path: str | FilePath, overrides: Sequence[str] = ()) -> RunSpec:
    """Returns the spec in a YAML or JSON file, with `section.field=value` overrides laid over it.

    Raises SpecError with every finding when the file cannot be read or anything in it is not valid.
    """
    reading = read_spec(path, overrides)
    if reading.spec is None or not reading.is_valid:
        raise SpecError(*reading.findings)
    return reading.spec


def read_spec(path: str | FilePath, overrides: Sequence[str] = ()) -> Reading:
    """Reads a spec as far as it can be read; never raises for what is in the file."""
    tree = _read_file(FilePath(path), open_files=())
    for number, text in enumerate(overrides, start=1):
        _override(tree, text, number)
        _expand_short_forms(tree)
    if not isinstance(tree.data, Mapping):
        return Reading(None, tree, tree.findings)
    return _validate(tree)


def read_config(path: str | FilePath) -> Tree:
    """Reads a DeepSpeed config in JSON or HJSON, or YAML by its name; never raises for what is in the file."""
    text = _text(FilePath(path), "utf-8-sig" if _is_yaml(path) else "utf-8")
    return Tree(findings=[text]) if isinstance(text, Diagnostic) else parse_config(text, str(path))


def parse_config(text: str, file: str) -> Tree:
    """Reads the text of a DeepSpeed config, as what the name of its file says."""
    return parse(text, file) if _is_yaml(file) else parse_hjson(text, file)


def _is_yaml(path: str | FilePath) -> bool:
    return FilePath(path).suffix in (".yaml", ".yml")


def _validate(tree: Tree) -> Reading:
    try:
        return Reading(RunSpec.model_validate(tree.data), tree, tree.findings)
    except ValidationError as invalid:
        found = [*tree.findings, *invalid_findings(invalid, tree, RunSpec)]
        bad = {problem["loc"][0] for problem in invalid.errors() if problem["loc"]}
        return Reading(_partial(tree.data, bad), tree, found)


def _partial(data: Mapping[str, Any], bad: set[Any]) -> RunSpec:
    """Returns the valid sections, and `Unread` for the others, so that rules can look at the rest."""
    sections: dict[str, Any] = {}
    for name, field in RunSpec.model_fields.items():
        if name in bad:
            sections[name] = Unread()
        elif name in data:
            sections[name] = TypeAdapter(field.rebuild_annotation()).validate_python(data[name])
    return RunSpec.model_construct(**sections)


def _read_file(path: FilePath, open_files: tuple[FilePath, ...]) -> Tree:
    text = _text(path)
    if isinstance(text, Diagnostic):
        return Tree(findings=[text])
    tree = parse(text, str(path))
    if tree.findings and tree.data is None:
        return tree
    if not isinstance(tree.data, dict):
        help = "write `name: …` and the other sections, or start from `zerotrain new`"
        fact = "the file is empty" if tree.data is None else "the file is not a mapping of keys to values"
        tree.findings.append(error("ZT011", "not-a-spec", fact, help=help).at(Place(str(path), 1, 1)))
        tree.data = None
        return tree
    _expand_short_forms(tree)
    return _extended(tree, path, (*open_files, _resolved(path)))


def _expand_short_forms(tree: Tree) -> None:
    """Writes `precision: bf16` as `precision: {dtype: bf16}`, so that keys of the long form can be laid over it."""
    for section, key in SHORT_FORMS.items():
        if isinstance(tree.data, dict) and isinstance(tree.data.get(section), str):
            tree.data[section] = {key: tree.data[section]}
            if (section,) in tree.marks:
                tree.marks[section, key] = tree.marks[section,]


def _text(path: FilePath, encoding: str = "utf-8-sig") -> str | Diagnostic:
    place = Place(file=str(path))
    try:
        return path.read_bytes().decode(encoding)
    except UnicodeDecodeError as broken:
        fact = f"the file is not UTF-8: byte {broken.object[broken.start]:#04x} at offset {broken.start}"
        return error("ZT002", "not-utf8-spec", fact, help="save it as UTF-8").at(place)
    except (OSError, ValueError) as broken:
        reason = reason_of(broken)
        return error("ZT001", "unreadable-file", f"cannot read `{path}`: {reason}", help=_file_help(path)).at(place)


def _file_help(path: FilePath) -> str:
    try:
        siblings = sorted(str(sibling) for sibling in path.parent.glob("*.y*ml"))
    except (OSError, ValueError):
        siblings = []
    near = nearest(str(path), siblings)
    return f"did you mean `{near}`?" if near else "give the path of a YAML or JSON file"


def _extended(tree: Tree, path: FilePath, open_files: tuple[FilePath, ...]) -> Tree:
    """Lays the file over what it extends."""
    if "extends" not in tree.data:
        return tree
    named = tree.data.pop("extends")
    names = named if isinstance(named, list) else [named]
    below = Tree(data={}, lines=dict(tree.lines))
    for index, name in enumerate(names):
        here = tree.place(("extends", index) if isinstance(named, list) else ("extends",))
        _lay(below, _base(name, path, open_files, here))
    _lay(below, tree)
    return below


def _base(name: Any, path: FilePath, open_files: tuple[FilePath, ...], here: Place) -> Tree:
    if not isinstance(name, str):
        return Tree(findings=[error("ZT007", "invalid-value", "`extends` is not a path or a list of paths").at(here)])
    base = path.parent / name
    if _resolved(base) in open_files:
        chain = " -> ".join(file.name for file in (*open_files, base))
        finding = error(
            "ZT009", "circular-extends", f"`extends` leads back to itself: {chain}", help="break the circle"
        )
        return Tree(findings=[finding.at(here)])
    tree = _read_file(base, open_files)
    if tree.data is None and tree.findings and tree.findings[0].code == "ZT001":
        tree.findings[0] = tree.findings[0].at(here)
    return tree


def _resolved(path: FilePath) -> FilePath:
    """Returns the path without links; as it is where the system refuses to look at it."""
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):
        return path


def _lay(below: Tree, above: Tree) -> None:
    """Merges `above` over `below`, values and marks; the file above comes first among the lines."""
    below.findings += above.findings
    below.lines |= above.lines
    if isinstance(above.data, Mapping):
        _merge(below, above, (), below.data, above.data)


def _merge(below: Tree, above: Tree, path: Path, old: dict[str, Any], new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        here = (*path, key)
        if isinstance(value, Mapping) and isinstance(old.get(key), dict) and not _other_type(old[key], value):
            below.marks[here] = above.marks[here]
            _merge(below, above, here, old[key], value)
        else:
            old[key] = value
            below.marks = {p: mark for p, mark in below.marks.items() if p[: len(here)] != here}
            below.marks |= {p: mark for p, mark in above.marks.items() if p[: len(here)] == here}


def _other_type(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Tells whether the section is of another `type`, whose keys the old ones are not."""
    return "type" in new and "type" in old and new["type"] != old["type"]


def _override(tree: Tree, text: str, number: int) -> None:
    key, equals, value = text.partition("=")
    path = undotted(key.strip())
    place = Place(COMMAND_LINE, number, 1, key.strip() or None, text, max(1, len(key)))
    if not equals or not path:
        help = "write `section.field=value`, for example `batch.micro_batch_size=4`"
        tree.findings.append(error("ZT010", "bad-override", f"`{text}` is not an override", help=help).at(place))
        return
    if tree.data is None:
        return
    overlay = parse(value, COMMAND_LINE)
    tree.findings += [finding.at(place) for finding in overlay.findings]
    if overlay.findings:
        return
    obstacle = _set(tree.data, path, overlay.data)
    if obstacle is not None:
        tree.findings.append(error("ZT010", "bad-override", obstacle).at(place))
        return
    _mark_override(tree, overlay, path, text, number, len(key) + 1)


def _set(data: Any, path: Path, value: Any) -> str | None:
    """Sets a value, making the sections on the way; returns what stands in the way, if anything does."""
    for index, part in enumerate(path[:-1]):
        if isinstance(data, dict) and data.get(str(part)) is None:
            data[str(part)] = {}
        inside = _entry(data, part)
        if inside is None:
            return _obstacle(data, path, index)
        data = inside
    last = path[-1]
    if isinstance(data, list) and isinstance(last, int) and last < len(data):
        data[last] = value
    elif isinstance(data, dict):
        data[str(last)] = value
    else:
        return _obstacle(data, path, len(path) - 1)
    return None


def _entry(data: Any, part: str | int) -> Any:
    if isinstance(data, list):
        return data[part] if isinstance(part, int) and part < len(data) else None
    return data.get(str(part)) if isinstance(data, dict) else None


def _obstacle(data: Any, path: Path, index: int) -> str:
    here = dotted(path[:index])
    if isinstance(data, list) and isinstance(path[index], int):
        return f"`{here}` has only {len(data)} items, so `{dotted(path)}` cannot be set"
    return f"`{here}` is not a mapping, so `{dotted(path)}` cannot be set"


def _mark_override(tree: Tree, overlay: Tree, path: Path, text: str, number: int, offset: int) -> None:
    """Marks the value, everything in it and the sections made for it as standing on the command line."""
    lines = tree.lines.setdefault(COMMAND_LINE, [])
    lines += [""] * (number - len(lines))
    lines[number - 1] = text
    value = Mark(COMMAND_LINE, number - 1, offset, len(text) - offset, number - 1, 0, offset - 1)
    tree.marks = {known: mark for known, mark in tree.marks.items() if known[: len(path)] != path}
    for length in range(1, len(path)):
        tree.marks.setdefault(path[:length], value)
    tree.marks[path] = value
    for inside, mark in overlay.marks.items():
        column, key_column = mark.column + offset, mark.key_column + offset
        tree.marks[*path, *inside] = Mark(
            COMMAND_LINE, number - 1, column, mark.width, number - 1, key_column, mark.key_width
        )
