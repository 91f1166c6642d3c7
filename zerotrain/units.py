"""Sizes, horizons and counts as people write them: `512MiB`, `2B tokens`, `500 steps`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

DurationUnit = Literal["steps", "epochs", "tokens"]

_BINARY = {"kib": 1024, "mib": 1024**2, "gib": 1024**3, "tib": 1024**4, "pib": 1024**5}
_DECIMAL = {"b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "tb": 1000**4, "pb": 1000**5}
_MAGNITUDES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
_NUMBER = re.compile(r"^\s*([0-9][0-9_,]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*([a-zA-Z]*)\s*$")
_DURATION = re.compile(r"^(.*?)\s*(steps?|epochs?|tokens?)\s*$")


def parse_bytes(text: str | int) -> int:
    """Returns the number of bytes in `text`: `512MiB`, `1.5 GB`, or a plain number of bytes.

    Raises ValueError when the text is not a size.
    """
    if isinstance(text, int):
        return text
    match = _NUMBER.match(text)
    unit = match[2].lower() if match else ""
    scale = 1 if unit == "" else {**_BINARY, **_DECIMAL}.get(unit)
    if match is None or scale is None:
        raise ValueError(f"`{text}` is not a size; write a number with KiB, MiB, GiB, KB, MB or GB")
    return _whole(match[1], scale, text)


def format_bytes(count: float) -> str:
    """Prints a number of bytes with a binary unit and at most one decimal: `512MiB`, `1.5GiB`."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024:
            return f"{size:.0f}{unit}" if size == int(size) else f"{size:.1f}{unit}"
        size /= 1024
    return f"{size:.1f}PiB"


def parse_count(text: str | int) -> int:
    """Returns the whole number in `text`: `2B`, `1.5M`, `10_000`, `300`.

    Raises ValueError when the text is not a whole number.
    """
    if isinstance(text, int):
        return text
    match = _NUMBER.match(text)
    scale = _MAGNITUDES.get(match[2].lower()) if match else None
    if match is None or scale is None:
        raise ValueError(f"`{text}` is not a count; write a whole number, with K, M, B or T if it is large")
    return _whole(match[1], scale, text)


def format_count(count: float) -> str:
    """Prints a count with at most three digits and a magnitude: `1.68M`, `300`, `2B`."""
    for letter, scale in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if abs(count) >= scale:
            return f"{count / scale:.3g}{letter}"
    return f"{count:.3g}" if isinstance(count, float) else str(count)


def format_seconds(seconds: float) -> str:
    """Prints a time span in its two largest units: `2h 05m`, `3m 20s`, `4.2s`."""
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour:02d}h"
    return f"{hours}h {minute:02d}m" if hours else f"{minute}m {second:02d}s"


def _whole(digits: str, scale: int, text: str) -> int:
    value = float(digits.replace("_", "").replace(",", "")) * scale
    if value != int(value):
        raise ValueError(f"`{text}` is not a whole number")
    return int(value)


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
        match = _DURATION.match(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"`{text}` has no unit; write `{text} steps`, `{text} epochs` or `{text} tokens`")
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
