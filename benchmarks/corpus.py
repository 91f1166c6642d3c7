"""How `zerotrain lint` agrees with DeepSpeed on configs of other people's.

`python benchmarks/corpus.py DIRECTORY` reads `DIRECTORY/verdicts.jsonl`, one object per file of `DIRECTORY/configs`:
`file`, `how_used`, `world_size_used`, `accepted` and `error` (what DeepSpeed's own parser said), `unknown_keys` (each
with `key`, `effect` rejected or ignored, `kind`) and `removed_keys`. Prints the recall on what DeepSpeed refuses and
on keys it ignores, and every error about a config that it accepts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zerotrain.check.config.case import Reader
from zerotrain.check.config.runner import Circumstances, lint_file
from zerotrain.diagnostic import Diagnostic, Severity

READERS: Mapping[str, Reader] = {"hf_trainer": "hf", "accelerate": "accelerate"}


@dataclass
class Tally:
    """What was found, and what was missed."""

    found: int = 0
    missed: list[str] = field(default_factory=list[str])

    def count(self, name: str, is_found: bool) -> None:
        """Counts one that should be found."""
        self.found += is_found
        self.missed += [] if is_found else [name]

    def __str__(self) -> str:
        return f"{self.found} of {self.found + len(self.missed)}"


def main() -> None:
    """Prints how far lint and DeepSpeed agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--verbose", action="store_true", help="print what was missed, and every error that was said")
    given = parser.parse_args()
    refused, ignored, doubtful = Tally(), Tally(), list[str]()
    for row in rows(given.directory / "verdicts.jsonl"):
        if row["accepted"] is None:
            continue  # of another program's format
        found = lint_file(given.directory / "configs" / row["file"], circumstances(row))
        errors = [finding for finding in found if finding.severity is Severity.ERROR]
        name = f"{row['file']} {row['how_used']}"
        if row["accepted"] is False:
            refused.count(f"{name}: {(row['error'] or '')[:150]!r}", says(errors, refused_keys(row)))
        else:
            doubtful += [f"{name}: {error.code} {error.place.key}: {error.message}" for error in errors]
        for key in ignored_keys(row):
            ignored.count(f"{name}: {key}", says(found, [key]))
    print(f"refused configs with an error that names the key: {refused}")
    print(f"ignored keys with a finding that names them: {ignored}")
    print(f"errors about configs that DeepSpeed's parser accepts: {len(doubtful)}")
    if given.verbose:
        print(*refused.missed, *ignored.missed, *doubtful, sep="\n")


def rows(file: Path) -> Iterator[dict[str, Any]]:
    """Yields the verdicts."""
    yield from map(json.loads, file.read_text(encoding="utf-8").splitlines())


def circumstances(row: Mapping[str, Any]) -> Circumstances:
    """Returns under what circumstances DeepSpeed gave its verdict."""
    return Circumstances(READERS.get(row["how_used"], "raw"), world_size=row["world_size_used"])


def refused_keys(row: Mapping[str, Any]) -> list[str]:
    """Returns the keys DeepSpeed refuses; none when it refuses the whole."""
    unknown = [entry["key"] for entry in row["unknown_keys"] or () if entry["effect"] == "rejected"]
    return [*unknown, *(key if isinstance(key, str) else key["key"] for key in row["removed_keys"] or ())]


def ignored_keys(row: Mapping[str, Any]) -> list[str]:
    """Returns the keys DeepSpeed ignores, without those that are comments."""
    entries = row["unknown_keys"] or ()
    return [entry["key"] for entry in entries if entry["effect"] == "ignored" and entry["kind"] != "comment"]


def says(findings: Iterable[Diagnostic], keys: list[str]) -> bool:
    """Tells whether a finding is about every one of the keys; of no keys, whether there is a finding."""
    places = [finding.place.key or "" for finding in findings]
    return all(any(named(place, key) for place in places) for key in keys) if keys else bool(places)


def named(place: str, key: str) -> bool:
    """Tells whether a finding's key is that key, by its path or by its last part."""
    return place == key or place.rpartition(".")[2] == key.rpartition(".")[2]


if __name__ == "__main__":
    main()
