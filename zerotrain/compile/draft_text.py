"""A draft spec as YAML, with comments on what a person has to look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zerotrain.compile.adopt import Draft
from zerotrain.spec.dump import dump_yaml


def draft_text(draft: Draft, source: str) -> str:
    """Returns the YAML of a draft that was made from the file `source`."""
    lines = [f"# A draft from `{_line(source)}`. What that file does not say is marked PLACEHOLDER: put yours there."]
    lines += _list("Not carried over:", draft.left_out)
    lines += _list("Compiled otherwise than DeepSpeed would have taken it:", draft.changed)
    for name, section in draft.spec.items():
        marks = _marks(name, draft.placeholders)
        lines += ["", *marks] if marks or isinstance(section, Mapping) else []
        lines.append(_section(name, section))
    return "\n".join(lines) + "\n"


def _section(name: str, value: Any) -> str:
    flow = None if isinstance(value, Mapping) else False
    return dump_yaml({name: value}, flow=flow).rstrip("\n")


def _marks(name: str, placeholders: Mapping[str, str]) -> list[str]:
    own = [(key, what) for key, what in placeholders.items() if key == name or key.startswith(f"{name}.")]
    return [f"# PLACEHOLDER{'' if key == name else f' `{key}`'}: {what}" for key, what in own]


def _list(title: str, entries: Mapping[str, str]) -> Iterator[str]:
    if entries:
        yield "#"
        yield f"# {title}"
    for key, text in entries.items():
        yield f"#   {_line(key)}: {_line(text)}"


def _line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
