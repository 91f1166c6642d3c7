"""What an unknown key was probably meant to be."""

from __future__ import annotations

from difflib import SequenceMatcher

from zerotrain.check.config.case import ConfigCase
from zerotrain.check.config.entries import Entry
from zerotrain.check.dsschema.schema import Section, schema_of, versions
from zerotrain.diagnostic import Fix
from zerotrain.spec.suggest import listed, nearest

_MOST_HOMES = 2
"""A name that stands in more sections says nothing about where it belongs."""
_CERTAIN = 0.85
"""Likeness from which a misspelling is certain."""


def hint(case: ConfigCase, entry: Entry) -> tuple[str, Fix | None]:
    """Returns the way out for a key its section does not have, and the renaming when it is certain."""
    taken = next((name for name in entry.siblings if name != entry.name and _plain(name) == _plain(entry.name)), None)
    if taken is not None and entry.section.spellings(taken):
        return f"`{taken}` stands here too; remove this one", None
    plain = _same_letters(entry)
    homes = [] if plain else _homes(case, entry)
    if homes:
        return f"it belongs {listed_homes(homes)}: move it there, or remove it", None
    elsewhen = None if plain else _other_version(case, entry)
    near = plain or nearest(entry.name, _free_names(entry))
    if elsewhen or near is None:
        return elsewhen or _already_set(entry) or "remove it", None
    return f"did you mean `{near}`?", _renaming(entry, near)


def listed_homes(homes: list[str]) -> str:
    """Returns where a key belongs, in words."""
    return "at the top level" if homes == [""] else f"in {listed([home for home in homes if home])}"


def _same_letters(entry: Entry) -> str | None:
    """Returns the key that differs only in case and dashes."""
    return next((name for name in _free_names(entry) if _plain(name) == _plain(entry.name)), None)


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _already_set(entry: Entry) -> str | None:
    near = nearest(entry.name, [name for name in entry.siblings if entry.section.spellings(name)])
    return f"did you mean `{near}`? it is set already; remove this one" if near else None


def _free_names(entry: Entry) -> list[str]:
    """Returns the names of the section that are not taken."""
    names = (entry.section.spellings(own) for own, key in entry.section.keys.items() if key.deprecated is None)
    return [name for spelled in names if not any(name in entry.siblings for name in spelled) for name in spelled]


def _homes(case: ConfigCase, entry: Entry) -> list[str]:
    """Returns the sections that have a key of that very name, when it is clear which."""
    homes = [path for path, section in case.schema.sections.items() if section.spellings(entry.name)]
    for path, table in (("optimizer.params", case.schema.optimizers), ("scheduler.params", case.schema.schedulers)):
        if path not in homes and any(entry.name in signature.params for signature in table.values()):
            homes.append(path)
    return homes if len(homes) <= _MOST_HOMES else []


def _other_version(case: ConfigCase, entry: Entry) -> str | None:
    for version in reversed(versions()):
        section: Section | None = schema_of(version).section(entry.parent)
        if version != case.schema.version and section is not None and section.spellings(entry.name):
            return f"DeepSpeed {version} reads it; {case.schema.version} does not"
    return None


def _renaming(entry: Entry, near: str) -> Fix | None:
    likeness = SequenceMatcher(None, _plain(entry.name), _plain(near)).ratio()
    return Fix(f"rename to `{near}`", entry.path, near, renames=True) if likeness >= _CERTAIN else None
