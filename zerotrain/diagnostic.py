"""The one way to tell a user something: a finding with a code, a place, a fact and a way out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from math import isfinite


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """DeepSpeed or zerotrain refuses it, or it cannot mean anything."""
    WARNING = "warning"
    """It runs, but a setting is ignored or probably not meant."""
    INFO = "info"
    """There is a better way."""


@dataclass(frozen=True)
class Place:
    """Where a finding is: a position in a file, a key of the spec, or both."""

    file: str | None = None
    line: int | None = None
    """Counted from 1."""
    column: int | None = None
    """Counted from 1."""
    key: str | None = None
    """Dotted path of the key: `batch.global_batch_size`."""
    source_line: str | None = None
    """The text of that line."""
    width: int = 1
    """Number of characters the finding is about."""
    is_about_key: bool = False
    """The key itself is wrong, not its value."""


@dataclass(frozen=True)
class Fix:
    """A change that removes the finding and whose meaning is certain."""

    title: str
    key: str
    """Dotted path of the key that is changed."""
    value: object
    """What the key is to hold; its new name when `renames`."""
    renames: bool = False
    """The key gets another name and keeps its value."""

    def as_json(self) -> dict[str, object]:
        """Returns the fix in the form of the JSON output of `check`."""
        return {"title": self.title, "key": self.key, "value": _in_json(self.value), "renames": self.renames}


@dataclass(frozen=True)
class Diagnostic:
    """One finding."""

    code: str
    name: str
    severity: Severity
    message: str
    """The fact with its values, lower case, names in backticks."""
    place: Place = Place()
    help: str | None = None
    """The way out."""
    fix: Fix | None = None

    @property
    def is_error(self) -> bool:
        """True when DeepSpeed or zerotrain refuses what it is about."""
        return self.severity is Severity.ERROR

    def at(self, place: Place) -> Diagnostic:
        """Returns the same finding at another place."""
        return replace(self, place=place)

    def as_json(self) -> dict[str, object]:
        """Returns the finding in the form of the JSON output of `check`."""
        return {
            "code": self.code,
            "name": self.name,
            "severity": str(self.severity),
            "message": self.message,
            "file": self.place.file,
            "line": self.place.line,
            "column": self.place.column,
            "key": self.place.key,
            "help": self.help,
            "fix": self.fix and self.fix.as_json(),
        }


def _in_json(value: object) -> object:
    """Returns the value, or its text when JSON has no such number."""
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def error(code: str, name: str, message: str, *, help: str | None = None, key: str | None = None) -> Diagnostic:
    """Returns a finding of severity error, to be raised in a `ZerotrainError` by code that is not a rule."""
    return Diagnostic(code, name, Severity.ERROR, message, Place(key=key), help)


def warning(code: str, name: str, message: str, *, help: str | None = None, key: str | None = None) -> Diagnostic:
    """Returns a finding of severity warning, by code that is not a rule."""
    return Diagnostic(code, name, Severity.WARNING, message, Place(key=key), help)
