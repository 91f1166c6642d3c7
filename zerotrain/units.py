"""Sizes, horizons and counts as people write them: `512MiB`, `2B tokens`, `500 steps`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

DurationUnit = Literal["steps", "epochs", "tokens"]

_BINARY = {"kib": 1024, "mib": 1024**2, "gib": 1024**3, "tib": 1024**4, "pib": 1024**5}
_DECIMAL = {"b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "tb": 1000**4, "pb": 1000**5}
_MAGNITUDES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LARGEST = 2**63 - 1
_LONGEST = 10 * 365 * 86400
_NUMBER = re.compile(
    r"^\s*(?P<digits>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+(?:_[0-9]+)*)(?P<rest>\.[0-9]+)?(?P<exponent>[eE][+-]?[0-9]{1,3})?"
    r"\s*(?P<unit>[a-zA-Z]*)\s*$",
    re.ASCII,
)
_SPAN = re.compile(r"(?<![0-9.])([0-9]+)\s*(seconds?|secs?|s|minutes?|mins?|m|hours?|h|days?|d)(?![a-z])", re.ASCII)
_DURATION = re.compile(r"^(.*?)\s*(steps?|epochs?|tokens?)\s*$")


def parse_bytes(text: str | int) -> int:
    """Returns the number of bytes in `text`: `512MiB`, `1.5 GB`, or a plain number of bytes.

    Raises ValueError when the text is not a size.
    """
    return _read(text, {"": 1, **_BINARY, **_DECIMAL}, "a size; write a number with KiB, MiB, GiB, KB, MB or GB")


def parse_count(text: str | int) -> int:
    """Returns the whole number in `text`: `2B`, `1.5M`, `10_000`, `300`.

    Raises ValueError when the text is not a whole number.
    """
    return _read(text, _MAGNITUDES, "a count; write a whole number, with K, M, B or T if it is large")


def rounds_to(value: int, text: str | int) -> bool:
    """Tells whether a number is the one in `text` as precisely as it is written: 6,738,415,616 is `7B` and `6.74B`.

    A number without a magnitude is exact. Raises ValueError when the text is not a whole number.
    """
    written, match = parse_count(text), _NUMBER.match(str(text))
    scale = _MAGNITUDES[match["unit"].lower()] if match else 1
    last_digit = Fraction(scale, 10 ** (len(match["rest"] or ".") - 1)) if match else Fraction(1)
    return abs(value - written) <= last_digit / 2 if scale > 1 else value == written


def _read(text: str | int, units: dict[str, int], kind: str) -> int:
    """Returns a number with a unit exactly, without going through a float."""
    if isinstance(text, int):
        return text
    match = _NUMBER.match(text)
    scale = units.get(match["unit"].lower()) if match else None
    if match is None or scale is None:
        raise ValueError(f"`{text}` is not {kind}")
    digits = match["digits"].replace(",", "").replace("_", "")
    value = Fraction(f"{digits}{match['rest'] or ''}{match['exponent'] or ''}") * scale
    if value > _LARGEST:
        raise ValueError(f"`{text}` is too large")
    if value.denominator != 1:
        raise ValueError(f"`{text}` is not a whole number")
    return int(value)


def format_bytes(count: float) -> str:
    """Prints a number of bytes with a binary unit and at most one decimal: `512MiB`, `1.5GiB`."""
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if abs(round(size, 1)) < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f}{unit}" if round(size, 1) == round(size) else f"{size:.1f}{unit}"


def format_count(count: float) -> str:
    """Prints a count with at most three digits and a magnitude: `1.68M`, `300`, `2B`."""
    size, magnitude = float(count), ""
    for larger in ("K", "M", "B", "T"):
        if abs(float(f"{size:.3g}")) < 1000:
            break
        size, magnitude = size / 1000, larger
    return f"{size:.3g}{magnitude}" if abs(size) < 1000 else f"{size:.0f}{magnitude}"


def format_seconds(seconds: float) -> str:
    """Prints a time span in its two largest units: `2h 05m`, `3m 20s`, `4.2s`."""
    if round(seconds, 1) < 10:
        return f"{seconds:.1f}s"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour:02d}h"
    if hours:
        return f"{hours}h {minute:02d}m"
    return f"{minute}m {second:02d}s" if minute else f"{second}s"


@dataclass(frozen=True)
class TimeSpan:
    """A span of wall-clock time."""

    seconds: int
    text: str
    """As it was written."""

    @classmethod
    def parse(cls, text: str | TimeSpan) -> TimeSpan:
        """Reads `90 seconds`, `30 minutes`, `12h` or `1 day 6 hours`.

        Raises ValueError when the text is not a span of time, or none at all.
        """
        if isinstance(text, TimeSpan):
            return text
        if not _SPAN.search(text) or _SPAN.sub("", text).strip():
            raise ValueError(f"`{text}` is not a span of time; write `30 minutes`, `12h` or `90 seconds`")
        seconds = sum(int(number) * _SECONDS[unit[0]] for number, unit in _SPAN.findall(text))
        if not 0 < seconds <= _LONGEST:
            raise ValueError(f"`{text}` is {'too long' if seconds else 'no time at all'}")
        return cls(seconds, text)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Duration:
    """A length of training, or an interval in it, in optimizer steps, epochs or tokens."""

    value: int
    unit: DurationUnit

    @classmethod
    def parse(cls, text: str | Duration) -> Duration:
        """Reads `200 steps`, `3 epochs` or `2B tokens`.

        Raises ValueError when the unit is missing or the value is not a whole positive number.
        """
        if isinstance(text, Duration):
            return text
        match = _DURATION.match(text)
        if match is None:
            raise ValueError(_no_duration(text))
        value = parse_count(match[1])
        if value <= 0:
            raise ValueError(f"`{text}` is not positive")
        unit: dict[str, DurationUnit] = {"s": "steps", "e": "epochs", "t": "tokens"}
        return cls(value, unit[match[2][0]])

    @classmethod
    def steps(cls, value: int) -> Duration:
        """Returns a duration of `value` optimizer steps."""
        return cls(value, "steps")

    def __str__(self) -> str:
        return f"{self.value} {self.unit}"


def _no_duration(text: str) -> str:
    try:
        parse_count(text)
    except ValueError:
        return f"`{text}` is not a length; write a whole number of steps, epochs or tokens, such as `200 steps`"
    return f"`{text}` has no unit; write `{text} steps`, `{text} epochs` or `{text} tokens`"
