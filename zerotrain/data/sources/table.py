"""The kinds of sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from zerotrain.data.sources.images import images, sklearn_digits
from zerotrain.data.sources.jsonl import jsonl
from zerotrain.data.sources.python_stdlib import python_stdlib
from zerotrain.data.sources.record import Record
from zerotrain.data.sources.text import text
from zerotrain.diagnostic import Diagnostic

Source = Callable[[Any, str, list[Diagnostic]], Iterator[Record]]
"""The records of (section of the spec, its dotted key, findings so far) in an order that never changes.

A source reads on after a record it cannot read, and appends a finding for each; whoever reads it to the end knows
all that is wrong with it.
"""

SOURCES: Mapping[str, Source] = {
    "python_stdlib": python_stdlib,
    "text": text,
    "jsonl": jsonl,
    "images": images,
    "sklearn_digits": sklearn_digits,
}
